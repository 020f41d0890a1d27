import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_bridge.probes import v4l2

HEADER = Path("/usr/include/linux/videodev2.h")

# What the kernel's own header says, as NAME VALUE lines.
PROGRAM = """
#include <stddef.h>
#include <stdio.h>
#include <linux/videodev2.h>
#define SHOW(name, value) printf("%s %llu\\n", name, (unsigned long long)(value))
int main(void) {
  SHOW("QUERYCAP", VIDIOC_QUERYCAP); SHOW("ENUM_FMT", VIDIOC_ENUM_FMT);
  SHOW("G_FMT", VIDIOC_G_FMT); SHOW("S_FMT", VIDIOC_S_FMT);
  SHOW("REQBUFS", VIDIOC_REQBUFS); SHOW("QUERYBUF", VIDIOC_QUERYBUF);
  SHOW("QBUF", VIDIOC_QBUF); SHOW("DQBUF", VIDIOC_DQBUF); SHOW("S_PARM", VIDIOC_S_PARM);
  SHOW("STREAMON", VIDIOC_STREAMON); SHOW("STREAMOFF", VIDIOC_STREAMOFF);
  SHOW("CAPTURE", V4L2_BUF_TYPE_VIDEO_CAPTURE); SHOW("MMAP", V4L2_MEMORY_MMAP);
  SHOW("CAN_CAPTURE", V4L2_CAP_VIDEO_CAPTURE); SHOW("CAN_STREAM", V4L2_CAP_STREAMING);
  SHOW("HAS_DEVICE_CAPS", V4L2_CAP_DEVICE_CAPS); SHOW("FRAME_ERROR", V4L2_BUF_FLAG_ERROR);
  SHOW("CLOCK_MASK", V4L2_BUF_FLAG_TIMESTAMP_MASK);
  SHOW("CLOCK_MONOTONIC", V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC);

  SHOW("CAPABILITY", sizeof(struct v4l2_capability));
  SHOW("CAPABILITY.4", offsetof(struct v4l2_capability, capabilities));
  SHOW("CAPABILITY.5", offsetof(struct v4l2_capability, device_caps));
  SHOW("FORMAT_DESCRIPTION", sizeof(struct v4l2_fmtdesc));
  SHOW("FORMAT_DESCRIPTION.4", offsetof(struct v4l2_fmtdesc, pixelformat));
  SHOW("FORMAT", sizeof(struct v4l2_format));
  SHOW("FORMAT.1", offsetof(struct v4l2_format, fmt.pix.width));
  SHOW("FORMAT.3", offsetof(struct v4l2_format, fmt.pix.pixelformat));
  SHOW("FORMAT.5", offsetof(struct v4l2_format, fmt.pix.bytesperline));
  SHOW("STREAM_PARAMETERS", sizeof(struct v4l2_streamparm));
  SHOW("STREAM_PARAMETERS.3",
       offsetof(struct v4l2_streamparm, parm.capture.timeperframe.numerator));
  SHOW("REQUEST_BUFFERS", sizeof(struct v4l2_requestbuffers));
  SHOW("REQUEST_BUFFERS.2", offsetof(struct v4l2_requestbuffers, memory));
  SHOW("BUFFER", sizeof(struct v4l2_buffer));
  SHOW("BUFFER.2", offsetof(struct v4l2_buffer, bytesused));
  SHOW("BUFFER.3", offsetof(struct v4l2_buffer, flags));
  SHOW("BUFFER.5", offsetof(struct v4l2_buffer, timestamp.tv_sec));
  SHOW("BUFFER.6", offsetof(struct v4l2_buffer, timestamp.tv_usec));
  SHOW("BUFFER.7", offsetof(struct v4l2_buffer, sequence));
  SHOW("BUFFER.8", offsetof(struct v4l2_buffer, memory));
  SHOW("BUFFER.9", offsetof(struct v4l2_buffer, m.offset));
  SHOW("BUFFER.10", offsetof(struct v4l2_buffer, length));
  return 0;
}
"""


@pytest.fixture(scope="module")
def kernel_header(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or not HEADER.exists() or sys.byteorder != "little":
        pytest.skip("needs a C compiler and the kernel's headers")
    folder = tmp_path_factory.mktemp("v4l2")
    (folder / "show.c").write_text(PROGRAM)
    subprocess.run([compiler, "show.c", "-o", "show"], cwd=folder, check=True)
    lines = subprocess.run([folder / "show"], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in map(str.split, lines.splitlines())}


def offset(layout, field):
    """Where the field lies: the first byte that changes when it alone is not zero."""
    zeros = [b"" if c.endswith("s") else 0 for c in codes(layout)]
    values = list(zeros)
    values[field] = 1
    changed = zip(layout.pack(*values), layout.pack(*zeros), strict=True)
    return next(i for i, (a, b) in enumerate(changed) if a != b)


def codes(layout):
    """One format code for each value of a struct: ``@I4xII`` gives I, I, I."""
    found, digits = [], ""
    for c in layout.format.lstrip("@"):
        if c.isdigit():
            digits += c
            continue
        if c == "s":
            found.append(digits + c)
        elif c != "x":
            found += [c] * int(digits or 1)
        digits = ""
    return found


def test_numbers_sizes_and_offsets_are_the_kernels(kernel_header):
    for name, expected in kernel_header.items():
        constant, _, field = name.partition(".")
        ours = getattr(v4l2, constant)
        if field:
            ours = offset(ours, int(field))
        elif not isinstance(ours, int):
            ours = ours.size
        assert ours == expected, name
