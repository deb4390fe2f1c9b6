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
    PyObject *overrides;   /* the reading's, which it keeps; NULL: it has none */
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

/* Permissions and devices of thousands of regions are few: Python makes an object of each
 * distinct one, and it is kept here. */
#define KEPT 64
typedef struct {
    PyObject *maker; /* called with the word */
    struct {
        uint64_t value;
        PyObject *made;
    } kept[KEPT];
} distinct;
static distinct all_perms, all_devices;

static PyObject *made_of(distinct *all, uint64_t value)
{
    size_t at = (size_t)(value * 0x9E3779B97F4A7C15u >> 58) % KEPT;

    if (!all->kept[at].made || all->kept[at].value != value) {
        PyObject *before, *made;

        if (!all->maker) {
            PyErr_SetString(PyExc_RuntimeError, "use() was not called");
            return NULL;
        }
        made = PyObject_CallFunction(all->maker, "K", (unsigned long long)value);
#ifdef Py_GIL_DISABLED
        return made; /* threads would have to lock what is kept */
#endif
        if (!made)
            return NULL;
        before = all->kept[at].made; /* not before the call: it may have come here, too */
        all->kept[at].value = value;
        all->kept[at].made = made;
        Py_XDECREF(before);
    }
    Py_INCREF(all->kept[at].made);
    return all->kept[at].made;
}

static PyObject *get_perms(PyObject *self, void *which)
{
    const record *it = filled(self);

    (void)which;
    return it ? made_of(&all_perms, it->words[PM_PERMS_NAME] & UINT32_MAX) : NULL;
}

static PyObject *get_dev(PyObject *self, void *which)
{
    const record *it = filled(self);

    (void)which;
    return it ? made_of(&all_devices, it->words[PM_DEV]) : NULL;
}

/* An attribute of the reading; NULL without an error if it has none of that name: the reading of
 * a single region keeps less. */
static PyObject *of_reading(PyObject *reading, PyObject *name)
{
    PyObject *found = PyObject_GetAttr(reading, name);

    if (!found && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Clear();
    return found;
}

static PyObject *word_kinds, *word_overrides;

/* Name (0) or whether the file is deleted (1): MapsReading.path(), which is not asked about
 * regions without a name. */
static PyObject *get_path(PyObject *self, void *which)
{
    const record *it = filled(self);
    PyObject *both, *part;
    uint32_t name;

    if (!it)
        return NULL;
    name = (uint32_t)(it->words[PM_PERMS_NAME] >> 32);
    if (!name && it->overrides && PyDict_Size(it->overrides) == 0) {
        part = which ? Py_False : Py_None;
        Py_INCREF(part);
        return part;
    }
    both = PyObject_CallMethod(it->reading, "path", "II", name, it->index);
    if (!both)
        return NULL;
    part = PyTuple_GetItem(both, which ? 1 : 0);
    Py_XINCREF(part);
    Py_DECREF(both);
    return part;
}

/* A field of the region's Kind, which is determined when it is first asked for. */
static PyObject *get_kind(PyObject *self, void *which)
{
    const record *it = filled(self);
    PyObject *kinds, *kind = NULL, *part;

    if (!it)
        return NULL;
    kinds = of_reading(it->reading, word_kinds);
    if (!kinds && PyErr_Occurred())
        return NULL;
    if (kinds && PyList_Check(kinds) && it->index < (size_t)PyList_Size(kinds)) {
        kind = PyList_GetItem(kinds, (Py_ssize_t)it->index);
        if (kind == Py_None)
            kind = NULL;
        Py_XINCREF(kind);
    }
    Py_XDECREF(kinds);
    if (!kind && !(kind = PyObject_CallMethod(it->reading, "kind", "I", it->index)))
        return NULL;
    part = PyTuple_GetItem(kind, (Py_ssize_t)(size_t)which);
    Py_XINCREF(part);
    Py_DECREF(kind);
    return part;
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
#define SAID(name, get, which, doc) {name, get, NULL, doc, (void *)(size_t)(which)}

/* The fields of Kind (procmem/regions/kinds.py), in their order. */
enum { KIND, OWNER, EVIDENCE, NAME, USE };

static PyGetSetDef attributes[] = {
    WORD("start", get_word, PM_START),
    WORD("end", get_word, PM_END),
    WORD("size", get_size, 0),
    WORD("offset", get_word, PM_OFFSET),
    WORD("inode", get_word, PM_INODE),
    SAID("perms", get_perms, 0,
         "The permissions of its pages (r, w, x), and whether it is shared (s) or private (p)."),
    SAID("dev", get_dev, 0,
         "The device that holds the file, (major, minor); (0, 0) if there is none."),
    SAID("pathname", get_path, 0,
         "The file's path, or a name in brackets from the kernel; None if anonymous.\n\n"
         "Bytes that are not UTF-8 are kept (PEP 383, surrogateescape). A newline, which the\n"
         "kernel prints as \\012, is converted back. The \" (deleted)\" that the kernel prints\n"
         "after a path is not part of it: see `deleted`."),
    SAID("deleted", get_path, 1,
         "Whether the mapped file has been unlinked (or never had a name)."),
    SAID("kind", get_kind, KIND, "The purpose of the region, such as RegionKind.HEAP."),
    SAID("owner", get_kind, OWNER,
         "The executable, a library or the loader, whichever the region belongs to; else None."),
    SAID("kind_evidence", get_kind, EVIDENCE,
         "What `kind` was concluded from.\n\n"
         "Such as \"name\" (from the kernel), \"flags\" (VmFlags of smaps), \"perms\"\n"
         "(permissions), \"elf\" (headers of the ELF file), \"position\" (its neighbours: a\n"
         "guess), or \"none\"."),
    SAID("use", get_kind, USE,
         "What the memory is used for, such as \"Go heap\"; None: not known.\n\n"
         "It is more specific than `kind`. `str(use)` ends in \"?\" if it is a guess, and\n"
         "`use.evidence` is what it was concluded from. docs/uses.md lists all uses."),
    SAID("name", get_kind, NAME,
         "A short name for people, such as \"libc.so.6\" or \"thread stack\"."),
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
    PyObject *cls, *reading, *made, *overrides;
    unsigned long long address;
    Py_ssize_t stride, count, i;
    int tracked, collects;

    (void)module;
    if (!PyArg_ParseTuple(args, "OOKnn", &cls, &reading, &address, &stride, &count))
        return NULL;
    if (!PyType_Check(cls) || stride < PM_HEADER_WORDS || (uint64_t)stride > UINT32_MAX ||
        count < 0 || (uint64_t)count > UINT32_MAX || (count && !address)) {
        PyErr_SetString(PyExc_ValueError, "not a block of records");
        return NULL;
    }
    /* The reading never gets another dict, so a borrowed reference lives as long as it does. */
    overrides = of_reading(reading, word_overrides);
    if (!overrides && PyErr_Occurred())
        return NULL;
    Py_XDECREF(overrides);
    if (overrides && !PyDict_Check(overrides))
        overrides = NULL;
    tracked = (PyType_GetFlags((PyTypeObject *)cls) & Py_TPFLAGS_HAVE_GC) != 0;
    made = PyList_New(count);
    /* The collector would run 40 times while 30,000 are made, and find nothing: a record is in no
     * cycle. And each run brings the next one through all objects nearer. */
    collects = PyGC_Disable();
    for (i = 0; made && i < count; i++) {
        record *one = (record *)PyType_GenericAlloc((PyTypeObject *)cls, 0);

        if (!one) {
            Py_CLEAR(made);
            break;
        }
        Py_INCREF(reading);
        one->reading = reading;
        one->overrides = overrides;
        one->words = (const uint64_t *)(uintptr_t)address + i * stride;
        one->index = (uint32_t)i;
        one->stride = (uint32_t)stride;
        if (tracked)
            PyObject_GC_UnTrack((PyObject *)one);
        PyList_SetItem(made, i, (PyObject *)one);
    }
    if (collects)
        PyGC_Enable();
    return made;
}

/* use(perms, device): what makes the objects of the words for permissions and devices */
static PyObject *use(PyObject *module, PyObject *args)
{
    PyObject *perms, *device;

    (void)module;
    if (!PyArg_ParseTuple(args, "OO", &perms, &device))
        return NULL;
    Py_INCREF(perms);
    Py_INCREF(device);
    Py_XDECREF(all_perms.maker);
    Py_XDECREF(all_devices.maker);
    all_perms.maker = perms;
    all_devices.maker = device;
    return Py_BuildValue("");
}

static PyMethodDef functions[] = {
    {"use", use, METH_VARARGS, "Sets what makes permissions and devices."},
    {"make", make, METH_VARARGS, "The objects of a block of records."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_records", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__records(void)
{
    PyObject *made = PyModule_Create(&module), *type = made ? PyType_FromSpec(&spec) : NULL;

    word_kinds = PyUnicode_InternFromString("_kinds");
    word_overrides = PyUnicode_InternFromString("overrides");
    if (!word_kinds || !word_overrides || !type || PyModule_AddObject(made, "Record", type) < 0) {
        Py_XDECREF(type);
        Py_XDECREF(made);
        return NULL;
    }
    return made;
}
