/* Columns as Arrow's C stream, which data frames read without copying: the structures of
 * the Arrow C data interface (arrow.apache.org/docs/format/CDataInterface.html,
 * CStreamInterface.html) and the Python capsules that hold them.
 *
 * All is copied to memory of its own when a stream is made: a consumer may release it in any
 * thread, without the interpreter, and after the interpreter has ended. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#define NULLABLE 2 /* ARROW_FLAG_NULLABLE */
#define ALIGNED 64 /* what Arrow recommends for buffers */

/* Two functions that are alike but for the type: children may have been moved out. */
#define RELEASE_CHILDREN(it) \
    do { \
        int64_t child; \
        for (child = 0; child < (it)->n_children; child++) \
            if ((it)->children[child]) { \
                if ((it)->children[child]->release) \
                    (it)->children[child]->release((it)->children[child]); \
                free((it)->children[child]); \
            } \
        free((it)->children); \
        if ((it)->dictionary) { \
            if ((it)->dictionary->release) \
                (it)->dictionary->release((it)->dictionary); \
            free((it)->dictionary); \
        } \
    } while (0)

static void release_schema(struct ArrowSchema *it)
{
    RELEASE_CHILDREN(it);
    free((void *)it->format);
    free((void *)it->name);
    free((void *)it->metadata);
    it->release = NULL;
}

static void release_array(struct ArrowArray *it)
{
    int64_t i;

    RELEASE_CHILDREN(it);
    for (i = 0; i < it->n_buffers; i++)
        free((void *)it->buffers[i]);
    free((void *)it->buffers);
    it->release = NULL;
}

/* The bytes of metadata: a count, then for each key and value its length and its bytes. */
static size_t metadata_size(const char *metadata)
{
    int32_t pairs, length;
    size_t at = sizeof pairs;

    memcpy(&pairs, metadata, sizeof pairs);
    for (pairs *= 2; pairs > 0; pairs--) {
        memcpy(&length, metadata + at, sizeof length);
        at += sizeof length + (size_t)length;
    }
    return at;
}

static char *duplicate(const char *bytes, size_t size)
{
    char *made = malloc(size ? size : 1);

    return made && size ? memcpy(made, bytes, size) : made;
}

static int copy_schema(const struct ArrowSchema *from, struct ArrowSchema *to)
{
    int64_t i;

    memset(to, 0, sizeof *to);
    to->release = release_schema;
    to->flags = from->flags;
    to->format = duplicate(from->format, strlen(from->format) + 1);
    to->name = duplicate(from->name, strlen(from->name) + 1);
    if (!to->format || !to->name)
        return -1;
    if (from->metadata &&
        !(to->metadata = duplicate(from->metadata, metadata_size(from->metadata))))
        return -1;
    if (from->n_children) {
        if (!(to->children = calloc((size_t)from->n_children, sizeof *to->children)))
            return -1;
        to->n_children = from->n_children;
        for (i = 0; i < from->n_children; i++)
            if (!(to->children[i] = calloc(1, sizeof **to->children)) ||
                copy_schema(from->children[i], to->children[i]))
                return -1;
    }
    if (from->dictionary && (!(to->dictionary = calloc(1, sizeof *to->dictionary)) ||
                             copy_schema(from->dictionary, to->dictionary)))
        return -1;
    return 0;
}

/* ---- from Python ---------------------------------------------------------------- */

/* A column, as procmem.arrow hands it over: (name, format, metadata, nullable, length,
 * null_count, buffers, dictionary, children); dictionary is a column or None. */
typedef struct {
    const char *name, *format;
    PyObject *metadata, *buffers, *dictionary, *children;
    int nullable;
    long long length, nulls;
} column;

static int parse_column(PyObject *from, column *out)
{
    if (!PyTuple_Check(from)) {
        PyErr_SetString(PyExc_TypeError, "a column is a tuple");
        return 0;
    }
    return PyArg_ParseTuple(from, "yyOpLLO!OO!", &out->name, &out->format, &out->metadata,
                            &out->nullable, &out->length, &out->nulls, &PyTuple_Type,
                            &out->buffers, &out->dictionary, &PyTuple_Type, &out->children);
}

static int no_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

static int make_schema(PyObject *from, struct ArrowSchema *to)
{
    column it;
    Py_ssize_t i, count;

    memset(to, 0, sizeof *to);
    to->release = release_schema;
    if (!parse_column(from, &it))
        return -1;
    to->flags = it.nullable ? NULLABLE : 0;
    to->format = duplicate(it.format, strlen(it.format) + 1);
    to->name = duplicate(it.name, strlen(it.name) + 1);
    if (!to->format || !to->name)
        return no_memory();
    if (it.metadata != Py_None) {
        char *bytes;
        Py_ssize_t size;

        if (PyBytes_AsStringAndSize(it.metadata, &bytes, &size))
            return -1;
        if (!(to->metadata = duplicate(bytes, (size_t)size)))
            return no_memory();
    }
    if ((count = PyTuple_Size(it.children)) > 0) {
        if (!(to->children = calloc((size_t)count, sizeof *to->children)))
            return no_memory();
        to->n_children = count;
        for (i = 0; i < count; i++) {
            if (!(to->children[i] = calloc(1, sizeof **to->children)))
                return no_memory();
            if (make_schema(PyTuple_GetItem(it.children, i), to->children[i]))
                return -1;
        }
    }
    if (it.dictionary == Py_None)
        return 0;
    if (!(to->dictionary = calloc(1, sizeof *to->dictionary)))
        return no_memory();
    return make_schema(it.dictionary, to->dictionary);
}

/* Bytes, or a pair of an address and a size, which stay valid during the call. */
static int bytes_of(PyObject *from, const char **bytes, Py_ssize_t *size)
{
    unsigned long long address;

    if (!PyTuple_Check(from))
        return PyBytes_AsStringAndSize(from, (char **)bytes, size);
    if (!PyArg_ParseTuple(from, "Kn", &address, size))
        return -1;
    *bytes = (const char *)(uintptr_t)address;
    return 0;
}

static void *copy_buffer(const char *bytes, size_t size)
{
    size_t room = (size + ALIGNED) / ALIGNED * ALIGNED;
    char *made = aligned_alloc(ALIGNED, room);

    if (made) {
        memcpy(made, bytes, size);
        memset(made + size, 0, room - size);
    }
    return made;
}

static int make_array(PyObject *from, struct ArrowArray *to)
{
    column it;
    Py_ssize_t i, count;

    memset(to, 0, sizeof *to);
    to->release = release_array;
    if (!parse_column(from, &it))
        return -1;
    to->length = it.length;
    to->null_count = it.nulls;
    count = PyTuple_Size(it.buffers);
    if (!(to->buffers = calloc((size_t)count + 1, sizeof *to->buffers)))
        return no_memory();
    for (i = 0; i < count; i++) {
        PyObject *buffer = PyTuple_GetItem(it.buffers, i);
        const char *bytes;
        Py_ssize_t size;

        to->n_buffers = i + 1;
        if (buffer == Py_None)
            continue;
        if (bytes_of(buffer, &bytes, &size))
            return -1;
        if (!(to->buffers[i] = copy_buffer(bytes, (size_t)size)))
            return no_memory();
    }
    if ((count = PyTuple_Size(it.children)) > 0) {
        if (!(to->children = calloc((size_t)count, sizeof *to->children)))
            return no_memory();
        to->n_children = count;
        for (i = 0; i < count; i++) {
            if (!(to->children[i] = calloc(1, sizeof **to->children)))
                return no_memory();
            if (make_array(PyTuple_GetItem(it.children, i), to->children[i]))
                return -1;
        }
    }
    if (it.dictionary == Py_None)
        return 0;
    if (!(to->dictionary = calloc(1, sizeof *to->dictionary)))
        return no_memory();
    return make_array(it.dictionary, to->dictionary);
}

/* ---- the stream: one batch ------------------------------------------------------ */

typedef struct {
    struct ArrowSchema schema;
    struct ArrowArray array; /* released once it has been handed out */
} batch;

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    const batch *it = stream->private_data;

    if (!copy_schema(&it->schema, out))
        return 0;
    out->release(out);
    return ENOMEM;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    batch *it = stream->private_data;

    *out = it->array;
    it->array.release = NULL;
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream)
{
    (void)stream;
    return "not enough memory";
}

static void free_batch(batch *it)
{
    if (it->schema.release)
        it->schema.release(&it->schema);
    if (it->array.release)
        it->array.release(&it->array);
    free(it);
}

static void release_stream(struct ArrowArrayStream *stream)
{
    free_batch(stream->private_data);
    stream->release = NULL;
}

#define STREAM "arrow_array_stream"
#define SCHEMA "arrow_schema"

static void drop_stream(PyObject *capsule)
{
    struct ArrowArrayStream *it = PyCapsule_GetPointer(capsule, STREAM);

    if (it->release)
        it->release(it);
    free(it);
}

static void drop_schema(PyObject *capsule)
{
    struct ArrowSchema *it = PyCapsule_GetPointer(capsule, SCHEMA);

    if (it->release)
        it->release(it);
    free(it);
}

static PyObject *stream_of(PyObject *module, PyObject *root)
{
    struct ArrowArrayStream *stream = calloc(1, sizeof *stream);
    batch *it = calloc(1, sizeof *it);
    PyObject *capsule = NULL;

    (void)module;
    if (!stream || !it)
        PyErr_NoMemory();
    else if (!make_schema(root, &it->schema) && !make_array(root, &it->array))
        capsule = PyCapsule_New(stream, STREAM, drop_stream);
    if (!capsule) {
        if (it)
            free_batch(it);
        free(stream);
        return NULL;
    }
    *stream = (struct ArrowArrayStream){get_schema, get_next, get_last_error, release_stream, it};
    return capsule;
}

static PyObject *schema_of(PyObject *module, PyObject *root)
{
    struct ArrowSchema *schema = calloc(1, sizeof *schema);
    PyObject *capsule = NULL;

    (void)module;
    if (!schema)
        return PyErr_NoMemory();
    if (!make_schema(root, schema))
        capsule = PyCapsule_New(schema, SCHEMA, drop_schema);
    if (!capsule) {
        schema->release(schema);
        free(schema);
    }
    return capsule;
}

static PyMethodDef functions[] = {
    {"stream", stream_of, METH_O, "A column with children as a capsule: arrow_array_stream."},
    {"schema", schema_of, METH_O, "The types of a column with children: arrow_schema."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_arrow", NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__arrow(void)
{
    return PyModule_Create(&module);
}
