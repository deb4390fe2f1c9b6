/* Memory: the base of procmem.Mapping, an object that lends its memory.
 *
 * The buffer protocol takes a C type, until Python 3.12. This one only counts:
 * who uses the memory now, so that nobody unmaps it meanwhile. Python decides
 * what may be lent (Mapping._lend). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Part of the limited API from 3.11 on; 3.10 has the same under the same numbers
 * (Include/object.h, Include/typeslots.h). */
#ifndef PyBUF_WRITABLE
#define PyBUF_WRITABLE 0x01
#define PyBUF_FORMAT 0x04
#define PyBUF_ND 0x08
#define PyBUF_STRIDES (0x10 | PyBUF_ND)
#endif
#ifndef Py_bf_getbuffer
#define Py_bf_getbuffer 1
#define Py_bf_releasebuffer 2
#endif
typedef struct {
    void *buf;
    PyObject *obj;
    Py_ssize_t len, itemsize;
    int readonly, ndim;
    char *format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void *internal;
} view;

typedef struct {
    PyObject_HEAD
    Py_ssize_t users; /* -1: one that tolerates no other */
    Py_ssize_t length;
} memory;

static char bytes_format[] = "B";
static Py_ssize_t one = 1;

static int get_buffer(PyObject *self, view *to, int flags)
{
    memory *it = (memory *)self;
    unsigned long long address;
    Py_ssize_t length;
    int readonly;
    PyObject *answer;

    to->obj = NULL;
    if (it->users < 0) {
        PyErr_SetString(PyExc_BufferError, "another thread is changing this mapping");
        return -1;
    }
    /* Before it is asked: other threads may run while Python answers. */
    it->users++;
    answer = PyObject_CallMethod(self, "_lend", "i", flags & PyBUF_WRITABLE);
    if (!answer || !PyArg_ParseTuple(answer, "Knp", &address, &length, &readonly)) {
        Py_XDECREF(answer);
        it->users--;
        return -1;
    }
    Py_DECREF(answer);
    /* Borrowers share it->length: it can't change while there are any. */
    it->length = length;
    Py_INCREF(self);
    to->obj = self;
    to->buf = (void *)(uintptr_t)address;
    to->len = length;
    to->itemsize = 1;
    to->readonly = readonly;
    to->ndim = 1;
    to->format = flags & PyBUF_FORMAT ? bytes_format : NULL;
    to->shape = flags & PyBUF_ND ? &it->length : NULL;
    to->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &one : NULL;
    to->suboffsets = NULL;
    to->internal = NULL;
    return 0;
}

static void release_buffer(PyObject *self, view *from)
{
    (void)from;
    ((memory *)self)->users--;
}

static PyObject *use(PyObject *self, PyObject *nothing)
{
    memory *it = (memory *)self;

    (void)nothing;
    if (it->users < 0)
        Py_RETURN_FALSE;
    it->users++;
    Py_RETURN_TRUE;
}

static PyObject *use_alone(PyObject *self, PyObject *nothing)
{
    memory *it = (memory *)self;

    (void)nothing;
    if (it->users)
        Py_RETURN_FALSE;
    it->users = -1;
    Py_RETURN_TRUE;
}

static PyObject *done(PyObject *self, PyObject *nothing)
{
    memory *it = (memory *)self;

    (void)nothing;
    it->users = it->users < 0 ? 0 : it->users - 1;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"_use", use, METH_NOARGS, "Keeps others from changing it; False: one is."},
    {"_use_alone", use_alone, METH_NOARGS, "Keeps others from using it; False: some do."},
    {"_done", done, METH_NOARGS, "Ends either."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_bf_getbuffer, (void *)get_buffer},
    {Py_bf_releasebuffer, (void *)release_buffer},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    "procmem.native._memory.Memory", sizeof(memory), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_memory", NULL, -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__memory(void)
{
    PyObject *made = PyModule_Create(&module), *type = made ? PyType_FromSpec(&spec) : NULL;

    if (!type || PyModule_AddObject(made, "Memory", type) < 0) {
        Py_XDECREF(type);
        Py_XDECREF(made);
        return NULL;
    }
    return made;
}
