/* Record: a Python object over one packed record of the scanner.
 *
 * Made here and not in Python since a region of maps costs the kernel 0.22 µs
 * to print and a Python-made object costs 0.12 to 0.20 µs more: this one takes
 * 0.05, is not tracked by the collector (it holds no cycle: a reading never
 * refers to its records) and is immutable by nature. Numbers become Python
 * integers when they are asked for. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#include "scanner.h"

typedef struct {
    PyObject_HEAD
    PyObject *reading;     /* keeps the words alive; shared by the regions of one reading */
    const uint64_t *words; /* NULL in an object that make() did not make */
    uint32_t index;
    uint32_t stride;
} record;

static const record *filled(PyObject *self)
{
    const record *it = (const record *)self;

    if (!it->words)
        PyErr_SetString(PyExc_AttributeError, "an empty record");
    return it->words ? it : NULL;
}

static PyObject *get_word(PyObject *self, void *which)
{
    const record *it = filled(self);

    return it ? PyLong_FromUnsignedLongLong(it->words[(size_t)which]) : NULL;
}

static PyObject *get_high(PyObject *self, void *which)
{
    const record *it = filled(self);

    return it ? PyLong_FromUnsignedLongLong(it->words[(size_t)which] >> 32) : NULL;
}

static PyObject *get_low(PyObject *self, void *which)
{
    const record *it = filled(self);

    return it ? PyLong_FromUnsignedLongLong(it->words[(size_t)which] & UINT32_MAX) : NULL;
}

static PyObject *get_size(PyObject *self, void *which)
{
    const record *it = filled(self);

    (void)which;
    return it ? PyLong_FromUnsignedLongLong(it->words[PM_END] - it->words[PM_START]) : NULL;
}

static PyObject *get_reading(PyObject *self, void *which)
{
    const record *it = filled(self);

    (void)which;
    if (!it)
        return NULL;
    Py_INCREF(it->reading);
    return it->reading;
}

static PyObject *get_index(PyObject *self, void *which)
{
    const record *it = filled(self);

    (void)which;
    return it ? PyLong_FromUnsignedLong(it->index) : NULL;
}

/* The counters of thousands of regions hold the same few values: one object
 * stands for all that are alike. */
#define SHARED 256
static struct {
    uint64_t value;
    PyObject *number;
} shared[SHARED];

static PyObject *counter(uint64_t value)
{
    size_t at = (value ^ value >> 8 ^ value >> 12) % SHARED;

    if (!shared[at].number || shared[at].value != value) {
        PyObject *made = PyLong_FromUnsignedLongLong(value), *before = shared[at].number;

        if (!made)
            return NULL;
        shared[at].value = value;
        shared[at].number = made;
        Py_XDECREF(before);
    }
    Py_INCREF(shared[at].number);
    return shared[at].number;
}

/* A word that may be missing: None then. */
static PyObject *optional(const record *it, size_t which)
{
    if (which >= it->stride || it->words[which] == PM_MISSING)
        Py_RETURN_NONE;
    return counter(it->words[which]);
}

static PyObject *get_extra(PyObject *self, void *which)
{
    const record *it = filled(self);

    return it ? optional(it, PM_HEADER_WORDS + (size_t)which) : NULL;
}

static PyObject *extra_words(PyObject *self, PyObject *nothing)
{
    const record *it = filled(self);
    PyObject *all;
    uint32_t i;

    (void)nothing;
    if (!it || !(all = PyTuple_New((Py_ssize_t)(it->stride - PM_HEADER_WORDS))))
        return NULL;
    for (i = PM_HEADER_WORDS; i < it->stride; i++) {
        PyObject *value = optional(it, i);

        if (!value || PyTuple_SetItem(all, (Py_ssize_t)(i - PM_HEADER_WORDS), value)) {
            Py_DECREF(all);
            return NULL;
        }
    }
    /* As the collector would do itself: numbers form no cycle. */
    PyObject_GC_UnTrack(all);
    return all;
}

static PyObject *contains(PyObject *self, PyObject *address)
{
    const record *it = filled(self);
    unsigned long long at;

    if (!it)
        return NULL;
    at = PyLong_AsUnsignedLongLong(address);
    if (at == (unsigned long long)-1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return NULL;
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    return PyBool_FromLong(it->words[PM_START] <= at && at < it->words[PM_END]);
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

    Py_XDECREF(((record *)self)->reading);
    release(self);
    Py_DECREF(type);
}

static int contains_slot(PyObject *self, PyObject *address)
{
    PyObject *answer = contains(self, address);
    int yes;

    if (!answer)
        return -1;
    yes = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return yes;
}

#define WORD(name, get, which) {name, get, NULL, NULL, (void *)(size_t)(which)}

static PyGetSetDef attributes[] = {
    WORD("start", get_word, PM_START),
    WORD("end", get_word, PM_END),
    WORD("size", get_size, 0),
    WORD("offset", get_word, PM_OFFSET),
    WORD("inode", get_word, PM_INODE),
    WORD("_dev_major", get_high, PM_DEV),
    WORD("_dev_minor", get_low, PM_DEV),
    WORD("_perms", get_low, PM_PERMS_NAME),
    WORD("_name", get_high, PM_PERMS_NAME),
    WORD("_flags", get_low, PM_FLAGS_RAW),
    WORD("_raw", get_high, PM_FLAGS_RAW),
    WORD("_reading", get_reading, 0),
    WORD("_index", get_index, 0),
    WORD("_extra0", get_extra, 0),
    WORD("_extra1", get_extra, 1),
    WORD("_extra2", get_extra, 2),
    WORD("_extra3", get_extra, 3),
    WORD("_extra4", get_extra, 4),
    WORD("_extra5", get_extra, 5),
    WORD("_extra6", get_extra, 6),
    WORD("_extra7", get_extra, 7),
    WORD("_extra8", get_extra, 8),
    WORD("_extra9", get_extra, 9),
    WORD("_extra10", get_extra, 10),
    WORD("_extra11", get_extra, 11),
    WORD("_extra12", get_extra, 12),
    WORD("_extra13", get_extra, 13),
    WORD("_extra14", get_extra, 14),
    WORD("_extra15", get_extra, 15),
    WORD("_extra16", get_extra, 16),
    WORD("_extra17", get_extra, 17),
    WORD("_extra18", get_extra, 18),
    WORD("_extra19", get_extra, 19),
    WORD("_extra20", get_extra, 20),
    WORD("_extra21", get_extra, 21),
    WORD("_extra22", get_extra, 22),
    WORD("_extra23", get_extra, 23),
    WORD("_extra24", get_extra, 24),
    WORD("_extra25", get_extra, 25),
    WORD("_extra26", get_extra, 26),
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"_extras", extra_words, METH_NOARGS, "The words behind the header, None where missing."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_getset, attributes},
    {Py_tp_methods, methods},
    {Py_sq_contains, (void *)contains_slot},
    {0, NULL},
};

static PyType_Spec spec = {
    "procmem.native._records.Record", sizeof(record), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots,
};

/* make(cls, reading, address, stride, count) -> list of count objects of cls */
static PyObject *make(PyObject *module, PyObject *args)
{
    PyObject *cls, *reading, *made;
    unsigned long long address;
    Py_ssize_t stride, count, i;
    int tracked;

    (void)module;
    if (!PyArg_ParseTuple(args, "OOKnn", &cls, &reading, &address, &stride, &count))
        return NULL;
    if (!PyType_Check(cls) || stride < PM_HEADER_WORDS || (uint64_t)stride > UINT32_MAX ||
        count < 0 || (uint64_t)count > UINT32_MAX || (count && !address)) {
        PyErr_SetString(PyExc_ValueError, "not a block of records");
        return NULL;
    }
    tracked = (PyType_GetFlags((PyTypeObject *)cls) & Py_TPFLAGS_HAVE_GC) != 0;
    made = PyList_New(count);
    for (i = 0; made && i < count; i++) {
        record *one = (record *)PyType_GenericAlloc((PyTypeObject *)cls, 0);

        if (!one) {
            Py_DECREF(made);
            return NULL;
        }
        Py_INCREF(reading);
        one->reading = reading;
        one->words = (const uint64_t *)(uintptr_t)address + i * stride;
        one->index = (uint32_t)i;
        one->stride = (uint32_t)stride;
        if (tracked)
            PyObject_GC_UnTrack((PyObject *)one);
        PyList_SetItem(made, i, (PyObject *)one);
    }
    return made;
}

static PyMethodDef functions[] = {
    {"make", make, METH_VARARGS, "The objects of a block of records."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_records", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__records(void)
{
    PyObject *made = PyModule_Create(&module), *type = made ? PyType_FromSpec(&spec) : NULL;

    if (!type || PyModule_AddObject(made, "Record", type) < 0) {
        Py_XDECREF(type);
        Py_XDECREF(made);
        return NULL;
    }
    return made;
}
