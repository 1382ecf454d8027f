/* An external TFLite delegate that computes nothing: it proves loading, options and failure.

   Options: "log" names a file that gets every option as key=value; "refuse" makes creation fail
   with that message; "prepare" = "error" makes the runtime's use of it fail, "crash" kills the
   process with SIGABRT; "take" = "all" takes every node (and leaves the outputs as they are),
   "most" all but the last, otherwise it takes none.
   "hang_after" = N makes every invoke behind the Nth sleep without end.
   The two exported functions and the struct are TFLite's external delegate interface
   (external_delegate_interface.h, core/c/common.h). */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct delegate {
    void *data;
    int (*prepare)(void *context, struct delegate *self);
    void *copy_from_buffer_handle, *copy_to_buffer_handle, *free_buffer_handle;
    int64_t flags;
    void *opaque_delegate_builder;
};

/* TfLiteRegistration as it stands in 2.14, with room for what later versions added at its end. */
struct registration {
    void *init, *free;
    int (*prepare)(void *context, void *node);
    int (*invoke)(void *context, void *node);
    void *profiling_string;
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *later[8];
};

struct context {
    size_t tensors_size;
    int (*get_execution_plan)(struct context *self, void **plan);
    void *tensors, *impl, *resize_tensor, *report_error, *add_tensors, *get_node_and_registration;
    int (*replace_nodes)(struct context *self, struct registration kernel, const void *nodes,
                         struct delegate *delegate);
};

/* The lock is this descriptor's: a process that reads the file beside it does not give it up. */
static int device = -1, users;

static int open_device(const char *path) {
    if (device < 0) device = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (device < 0 || flock(device, LOCK_EX | LOCK_NB)) {
        if (device >= 0) close(device);
        device = -1;
        return 0;
    }
    dprintf(device, "open %d\n", (int)getpid());
    users++;
    return 1;
}

static int kernel_ok(void *context, void *node) {
    (void)context, (void)node;
    return 0;
}

static long hang_after = -1;

static int invoke_or_hang(void *context, void *node) {
    (void)context, (void)node;
    while (hang_after == 0) sleep(1);
    if (hang_after > 0) hang_after--;
    return 0;
}

static int prepare_take_all(void *context, struct delegate *self) {
    struct context *graph = context;
    struct registration kernel = {.prepare = kernel_ok, .invoke = invoke_or_hang,
                                  .custom_name = "Noop", .version = 1};
    void *plan;
    if (graph->get_execution_plan(graph, &plan)) return 1;
    return graph->replace_nodes(graph, kernel, plan, self);
}

/* A plan is a number of nodes, and then the nodes. */
static int prepare_take_most(void *context, struct delegate *self) {
    struct context *graph = context;
    struct registration kernel = {.prepare = kernel_ok, .invoke = invoke_or_hang,
                                  .custom_name = "Noop", .version = 1};
    void *plan;
    if (graph->get_execution_plan(graph, &plan)) return 1;
    int *most = malloc((*(int *)plan + 1) * sizeof *most);
    memcpy(most, plan, (*(int *)plan + 1) * sizeof *most);
    most[0]--;
    int status = graph->replace_nodes(graph, kernel, most, self);
    free(most);
    return status;
}

static int prepare_ok(void *context, struct delegate *self) {
    (void)context, (void)self;
    return 0;
}

static int prepare_crash(void *context, struct delegate *self) {
    (void)context, (void)self;
    abort();
}

static int prepare_error(void *context, struct delegate *self) {
    (void)context, (void)self;
    return 1;
}

struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                               void (*report_error)(const char *)) {
    struct delegate *made = calloc(1, sizeof *made);
    made->prepare = prepare_ok;
    FILE *log = NULL;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(keys[i], "log")) log = fopen(values[i], "w");
    for (size_t i = 0; i < count; i++) {
        if (log) fprintf(log, "%s=%s\n", keys[i], values[i]);
        if (!strcmp(keys[i], "prepare") && !strcmp(values[i], "error"))
            made->prepare = prepare_error;
        if (!strcmp(keys[i], "prepare") && !strcmp(values[i], "crash"))
            made->prepare = prepare_crash;
        if (!strcmp(keys[i], "take") && !strcmp(values[i], "all"))
            made->prepare = prepare_take_all;
        if (!strcmp(keys[i], "take") && !strcmp(values[i], "most"))
            made->prepare = prepare_take_most;
        if (!strcmp(keys[i], "hang_after")) hang_after = atol(values[i]);
        int is_busy = !strcmp(keys[i], "node") && !open_device(values[i]);
        if (is_busy || !strcmp(keys[i], "refuse")) {
            if (report_error) report_error(is_busy ? "the device is busy" : values[i]);
            free(made);
            made = NULL;
            break;
        }
    }
    if (log) fclose(log);
    return made;
}

void tflite_plugin_destroy_delegate(struct delegate *made) {
    if (device >= 0) {
        dprintf(device, "close %d\n", (int)getpid());
        if (--users == 0) {
            close(device);
            device = -1;
        }
    }
    free(made);
}
