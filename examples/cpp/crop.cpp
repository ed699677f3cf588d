// SPDX-License-Identifier: Apache-2.0
#include "crop.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace relo {
namespace {

constexpr int kOne = 2048;      // weights of the interpolation have 11 bits
constexpr float kMargin = 10;   // pixels

// The two pixels that each pixel of the crop is mixed from, along one axis, and their weights.
struct Taps {
  std::vector<std::array<int, 2>> pixels, weights;
  int begin, end;  // pixels outside of these are black
};

Taps taps(int start, int side, int length, int size) {
  Taps taps{{}, {}, 0, start + side >= length ? length - 1 : length};
  for (int i = 0; i < size; ++i) {
    // Pixel centres: (i + 1/2) side / size - 1/2, as a fraction of integers.
    const std::int64_t numerator = (2LL * i + 1) * side - size;
    const float position = static_cast<float>(numerator) / static_cast<float>(2 * size);
    const float whole = std::floor(position), fraction = position - whole;
    const int first = start + static_cast<int>(whole), last = start + side - 1;
    taps.pixels.push_back({std::clamp(first, start, last), std::clamp(first + 1, start, last)});
    taps.weights.push_back({static_cast<int>(std::nearbyint((1 - fraction) * kOne)),
                            static_cast<int>(std::nearbyint(fraction * kOne))});
  }
  return taps;
}

}  // namespace

template <class T>
Window crop_window(const std::array<T, 4>& box, double factor) {
  const auto [x, y, w, h] = box;
  const T square = w * h * static_cast<T>(factor * factor);
  T side = std::ceil(std::sqrt(square));
  if constexpr (std::is_same_v<T, float>) {  // as on an accelerator, whose square root may miss the last bit
    if ((side - 1) * (side - 1) >= square) side -= 1;
    if (side * side < square) side += 1;
  }
  side = std::max<T>(side, 1);
  const T half = side * T(0.5);
  return {static_cast<int>(std::nearbyint(x + T(0.5) * w - half)),
          static_cast<int>(std::nearbyint(y + T(0.5) * h - half)), static_cast<int>(side)};
}

template Window crop_window(const std::array<float, 4>&, double);
template Window crop_window(const std::array<double, 4>&, double);

std::vector<std::uint8_t> cut(const Image& frame, const Window& window, int size) {
  const Taps across = taps(window.x, window.side, frame.width, size);
  const Taps down = taps(window.y, window.side, frame.height, size);
  const auto is_inside = [](const Taps& taps, int at) { return at >= taps.begin && at < taps.end; };
  std::vector<std::uint8_t> crop(static_cast<std::size_t>(size) * size * 3);
  std::array<std::vector<int>, 2> mixed{std::vector<int>(size * 3), std::vector<int>(size * 3)};
  for (int row = 0; row < size; ++row) {
    for (int k : {0, 1}) {
      const int y = down.pixels[row][k];
      if (!is_inside(down, y)) {
        std::fill(mixed[k].begin(), mixed[k].end(), 0);
        continue;
      }
      const std::uint8_t* line = frame.pixels + static_cast<std::size_t>(y) * frame.width * 3;
      for (int column = 0; column < size; ++column) {
        const auto [left, right] = across.pixels[column];
        const int a = is_inside(across, left) ? across.weights[column][0] : 0;
        const int b = is_inside(across, right) ? across.weights[column][1] : 0;
        for (int channel = 0; channel < 3; ++channel) {
          const int from_left = a ? line[left * 3 + channel] * a : 0;
          mixed[k][column * 3 + channel] = from_left + (b ? line[right * 3 + channel] * b : 0);
        }
      }
    }
    const auto [upper, lower] = down.weights[row];
    std::uint8_t* out = crop.data() + static_cast<std::size_t>(row) * size * 3;
    for (int i = 0; i < size * 3; ++i) {
      const int sum = (((mixed[0][i] >> 4) * upper) >> 16) + (((mixed[1][i] >> 4) * lower) >> 16);
      out[i] = static_cast<std::uint8_t>((sum + 2) >> 2);
    }
  }
  return crop;
}

Box box_from_crop(const float* box, const Box& around, int side, int size) {
  const float resize_factor = static_cast<float>(size) / static_cast<float>(side);
  const float scale = static_cast<float>(size) / resize_factor, half = 0.5f * static_cast<float>(size) / resize_factor;
  const float w = box[2] * scale, h = box[3] * scale;
  const float x = box[0] * scale + (around[0] + 0.5f * around[2] - half);
  const float y = box[1] * scale + (around[1] + 0.5f * around[3] - half);
  return {x - 0.5f * w, y - 0.5f * h, w, h};
}

Box clip_box(const Box& box, const Image& frame) {
  Box clipped;
  for (int axis : {0, 1}) {
    const float length = static_cast<float>(axis == 0 ? frame.width : frame.height);
    const float start = std::min(std::max(box[axis], 0.f), length - kMargin);
    const float end = std::min(std::max(box[axis] + box[axis + 2], kMargin), length);
    clipped[axis] = start;
    clipped[axis + 2] = std::max(end - start, kMargin);
  }
  return clipped;
}

}  // namespace relo
