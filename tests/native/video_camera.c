/* A V4L2 camera in place of a kernel's driver, for LD_PRELOAD: any FIFO that is asked is one.
 *
 * CAMERA=good delivers pictures, silent opens and never delivers, busy is in use by another
 * program. The FIFO makes select() wait as it does for a driver: a byte in it is a picture.
 *
 * CAMERA_LIST names a file with what the camera lists, a line each: its format, width, height and
 * rates, such as "MJPG 1280 720 30 15"; without it YUYV of 64x48 that lists no sizes. Pictures are
 * grey; those of MJPG are the files that CAMERA_JPEGS names, parted by colons, in turn.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BUFFERS = 32, MODES = 300, RATES = 16, MOST_BYTES = 1 << 22 };

struct mode {
  unsigned format, width, height, rates[RATES], rate_count;
};

static unsigned count, next, rate = 30;
static struct mode modes[MODES], now = {V4L2_PIX_FMT_YUYV, 64, 48, {0}, 0};
static int mode_count = -1;
static void *places[BUFFERS];

static int is(const char *mode) {
  const char *set = getenv("CAMERA");
  return set != NULL && strcmp(set, mode) == 0;
}

static int is_camera(int descriptor) {
  struct stat about;
  return fstat(descriptor, &about) == 0 && S_ISFIFO(about.st_mode);
}

static int refuse(int reason) {
  errno = reason;
  return -1;
}

static void query(struct v4l2_capability *found) {
  memset(found, 0, sizeof *found);
  strcpy((char *)found->driver, "uvcvideo");
  strcpy((char *)found->card, "Camera 9000");
  strcpy((char *)found->bus_info, "usb-0000:01:00.0-1.2");
  found->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
  found->capabilities = found->device_caps | V4L2_CAP_DEVICE_CAPS;
}

static void read_list(void) {
  const char *path = getenv("CAMERA_LIST");
  char line[256];
  mode_count = 0;
  FILE *file = path == NULL ? NULL : fopen(path, "r");
  if (file == NULL) return;
  while (mode_count < MODES && fgets(line, sizeof line, file) != NULL) {
    struct mode *one = &modes[mode_count];
    char *rest = line + 4;
    memcpy(&one->format, line, 4);
    one->width = strtoul(rest, &rest, 10);
    one->height = strtoul(rest, &rest, 10);
    while (one->rate_count < RATES && (one->rates[one->rate_count] = strtoul(rest, &rest, 10)) > 0)
      one->rate_count++;
    if (one->height > 0) mode_count++;
  }
  fclose(file);
  if (mode_count > 0) now = modes[0];
}

/* The number of formats that are listed before this mode's, or -1 where one of them is its own. */
static int number_of_format(int place) {
  int number = 0;
  for (int k = 0; k < place; k++) {
    int is_new = 1;
    for (int j = 0; j < k; j++) is_new &= modes[j].format != modes[k].format;
    if (modes[k].format == modes[place].format) return -1;
    number += is_new;
  }
  return number;
}

static int list_format(struct v4l2_fmtdesc *about) {
  if (about->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return refuse(EINVAL);
  for (int k = 0; k < mode_count; k++)
    if (number_of_format(k) == (int)about->index) {
      about->pixelformat = modes[k].format;
      return 0;
    }
  if (mode_count > 0 || about->index > 0) return refuse(EINVAL);
  about->pixelformat = V4L2_PIX_FMT_YUYV;
  return 0;
}

static int list_size(struct v4l2_frmsizeenum *about) {
  unsigned left = about->index;
  for (int k = 0; k < mode_count; k++)
    if (modes[k].format == about->pixel_format && left-- == 0) {
      about->type = V4L2_FRMSIZE_TYPE_DISCRETE;
      about->discrete.width = modes[k].width;
      about->discrete.height = modes[k].height;
      return 0;
    }
  return refuse(EINVAL);
}

static int list_rate(struct v4l2_frmivalenum *about) {
  for (int k = 0; k < mode_count; k++) {
    struct mode *one = &modes[k];
    if (one->format != about->pixel_format || one->width != about->width) continue;
    if (one->height != about->height || about->index >= one->rate_count) continue;
    about->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    about->discrete.numerator = 1;
    about->discrete.denominator = one->rates[about->index];
    return 0;
  }
  return refuse(EINVAL);
}

/* Takes the size that is asked for in the format that is asked for, else its first. */
static int choose(struct v4l2_format *wish) {
  struct v4l2_pix_format *picture = &wish->fmt.pix;
  int best = -1;
  for (int k = 0; k < mode_count; k++) {
    int is_same = modes[k].width == picture->width && modes[k].height == picture->height;
    if (modes[k].format == picture->pixelformat && (best < 0 || is_same)) best = k;
  }
  if (mode_count > 0 && best < 0) return refuse(EINVAL);
  if (best >= 0) now = modes[best];
  return 0;
}

static void format(struct v4l2_format *found) {
  struct v4l2_pix_format *picture = &found->fmt.pix;
  memset(picture, 0, sizeof *picture);
  picture->width = now.width;
  picture->height = now.height;
  picture->pixelformat = now.format;
  picture->bytesperline = now.format == V4L2_PIX_FMT_MJPEG ? 0 : now.width * 2;
  picture->sizeimage = now.width * now.height * 2;
}

static void at_rate(struct v4l2_streamparm *about) {
  memset(&about->parm, 0, sizeof about->parm);
  about->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
  about->parm.capture.timeperframe.numerator = 1;
  about->parm.capture.timeperframe.denominator = rate;
}

/* The next JPEG into a buffer; returns its bytes. */
static unsigned jpeg(void *place) {
  char names[4096], *rest = names, *name;
  unsigned number = 0, wanted;
  snprintf(names, sizeof names, "%s", getenv("CAMERA_JPEGS"));
  for (char *each = names; *each; each++) number += *each == ':';
  wanted = next % (number + 1);
  while ((name = strsep(&rest, ":")) != NULL && wanted-- > 0) continue;
  int file = open(name, O_RDONLY);
  long size = file < 0 ? 0 : read(file, place, MOST_BYTES);
  close(file);
  return size < 0 ? 0 : (unsigned)size;
}

static void give(int descriptor) {
  if (is("good") && write(descriptor, "", 1) != 1) abort();
}

static void fill(struct v4l2_buffer *buffer, unsigned index) {
  buffer->index = index;
  buffer->length = now.format == V4L2_PIX_FMT_MJPEG ? MOST_BYTES : now.width * now.height * 2;
  buffer->bytesused = buffer->length;
  buffer->m.offset = index * 4096;
}

static int take(int descriptor, struct v4l2_buffer *buffer) {
  char byte;
  if (read(descriptor, &byte, 1) != 1) return refuse(EAGAIN);
  fill(buffer, next % count);
  if (now.format == V4L2_PIX_FMT_MJPEG) buffer->bytesused = jpeg(places[buffer->index]);
  next++;
  return 0;
}

static int answer(int descriptor, unsigned long request, void *about) {
  struct v4l2_requestbuffers *wanted = about;
  if (mode_count < 0) read_list();
  switch (request) {
    case VIDIOC_QUERYCAP: query(about); return 0;
    case VIDIOC_ENUM_FMT: return list_format(about);
    case VIDIOC_ENUM_FRAMESIZES: return list_size(about);
    case VIDIOC_ENUM_FRAMEINTERVALS: return list_rate(about);
    case VIDIOC_S_PARM: {
      struct v4l2_fract each = ((struct v4l2_streamparm *)about)->parm.capture.timeperframe;
      if (each.numerator > 0) rate = each.denominator / each.numerator;
      at_rate(about);
      return 0;
    }
    case VIDIOC_G_PARM: at_rate(about); return 0;
    case VIDIOC_G_INPUT: *(int *)about = 0; return 0;
    case VIDIOC_S_INPUT: return 0;
    case VIDIOC_ENUMINPUT: return ((struct v4l2_input *)about)->index > 0 ? refuse(EINVAL) : 0;
    case VIDIOC_G_FMT: format(about); return 0;
    case VIDIOC_TRY_FMT:
    case VIDIOC_S_FMT:
      if (is("busy")) return refuse(EBUSY);
      if (choose(about)) return -1;
      format(about);
      return 0;
    case VIDIOC_REQBUFS:
      if (is("busy")) return refuse(EBUSY);
      count = wanted->count = wanted->count > BUFFERS ? BUFFERS : wanted->count;
      next = 0;
      return 0;
    case VIDIOC_QUERYBUF: fill(about, ((struct v4l2_buffer *)about)->index); return 0;
    case VIDIOC_QBUF: give(descriptor); return 0;
    case VIDIOC_DQBUF: return take(descriptor, about);
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF: return 0;
    default: return refuse(EINVAL);
  }
}

int ioctl(int descriptor, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *about = va_arg(rest, void *);
  va_end(rest);
  if ((request >> 8 & 0xff) == 'V' && is_camera(descriptor)) return answer(descriptor, request, about);
  return (int)syscall(SYS_ioctl, descriptor, request, about);
}

void *mmap64(void *place, size_t size, int protection, int flags, int descriptor, off64_t offset) {
  int camera = descriptor >= 0 && is_camera(descriptor);
  long index = offset / 4096;
  if (camera) {
    protection |= PROT_WRITE;
    flags = MAP_PRIVATE | MAP_ANONYMOUS;
    descriptor = -1;
    offset = 0;
  }
  long at = syscall(SYS_mmap, place, size, protection, flags, descriptor, offset);
  if (at != -1 && camera) memset((void *)at, 0x80, size);
  if (at != -1 && camera && index < BUFFERS) places[index] = (void *)at;
  return (void *)at;
}

void *mmap(void *place, size_t size, int protection, int flags, int descriptor, off_t offset) {
  return mmap64(place, size, protection, flags, descriptor, offset);
}
