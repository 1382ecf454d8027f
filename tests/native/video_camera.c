/* A V4L2 camera in place of a kernel's driver, for LD_PRELOAD: any FIFO that is asked is one.
 *
 * CAMERA=good delivers grey pictures of 64x48, silent opens and never delivers, busy is in use by
 * another program. The FIFO makes select() wait as it does for a driver: a byte in it is a picture.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WIDTH = 64, HEIGHT = 48, SIZE = WIDTH * HEIGHT * 2, BUFFERS = 32 };

static unsigned count, next;

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

static void format(struct v4l2_format *found) {
  struct v4l2_pix_format *picture = &found->fmt.pix;
  memset(picture, 0, sizeof *picture);
  picture->width = WIDTH;
  picture->height = HEIGHT;
  picture->pixelformat = V4L2_PIX_FMT_YUYV;
  picture->bytesperline = WIDTH * 2;
  picture->sizeimage = SIZE;
}

static void give(int descriptor) {
  if (is("good") && write(descriptor, "", 1) != 1) abort();
}

static void fill(struct v4l2_buffer *buffer, unsigned index) {
  buffer->index = index;
  buffer->length = SIZE;
  buffer->bytesused = SIZE;
  buffer->m.offset = index * 4096;
}

static int take(int descriptor, struct v4l2_buffer *buffer) {
  char byte;
  if (read(descriptor, &byte, 1) != 1) return refuse(EAGAIN);
  fill(buffer, next++ % count);
  return 0;
}

static int answer(int descriptor, unsigned long request, void *about) {
  struct v4l2_requestbuffers *wanted = about;
  switch (request) {
    case VIDIOC_QUERYCAP: query(about); return 0;
    case VIDIOC_ENUM_FMT:
      if (((struct v4l2_fmtdesc *)about)->index > 0) return refuse(EINVAL);
      ((struct v4l2_fmtdesc *)about)->pixelformat = V4L2_PIX_FMT_YUYV;
      return 0;
    case VIDIOC_G_INPUT: *(int *)about = 0; return 0;
    case VIDIOC_S_INPUT: return 0;
    case VIDIOC_ENUMINPUT: return ((struct v4l2_input *)about)->index > 0 ? refuse(EINVAL) : 0;
    case VIDIOC_G_FMT: format(about); return 0;
    case VIDIOC_TRY_FMT:
    case VIDIOC_S_FMT:
      if (is("busy")) return refuse(EBUSY);
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
  if (camera) {
    protection |= PROT_WRITE;
    flags = MAP_PRIVATE | MAP_ANONYMOUS;
    descriptor = -1;
    offset = 0;
  }
  long at = syscall(SYS_mmap, place, size, protection, flags, descriptor, offset);
  if (at != -1 && camera) memset((void *)at, 0x80, size);
  return (void *)at;
}

void *mmap(void *place, size_t size, int protection, int flags, int descriptor, off_t offset) {
  return mmap64(place, size, protection, flags, descriptor, offset);
}
