// SPDX-License-Identifier: Apache-2.0
// Crops and boxes of RELO: the square around a box that the network sees, and the way back into the frame.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace relo {

// x, y, width, height in pixels, counted from 0.
using Box = std::array<float, 4>;

// uint8 RGB, row after row; the pixels belong to the caller.
struct Image {
  int height, width;
  const std::uint8_t* pixels;
};

// A square of a frame; parts of it may lie outside.
struct Window {
  int x, y, side;
};

// The square around the centre of a box, with `factor` times the side of a square of its area. In double for the box
// that is given, in float for those that follow.
template <class T>
Window crop_window(const std::array<T, 4>& box, double factor);

// The window, resized to uint8 [size, size, 3] as cv::resize does it (bilinear, in integers); black outside the frame.
// Where it touches or passes the right (bottom) border, the frame's last column (row) is lost: so does the release,
// with whose crops the networks were trained.
std::vector<std::uint8_t> cut(const Image& frame, const Window& window, int size);

// A box of the network, cx, cy, w, h relative to the crop of that side around another box, in pixels of the frame.
Box box_from_crop(const float* box_cxcywh, const Box& around, int side, int size);

// The box clipped to a frame, of which it covers at least 10 pixels on each axis.
Box clip_box(const Box& box, const Image& frame);

}  // namespace relo
