// SPDX-License-Identifier: Apache-2.0
// RELO's tracker on the graphs of `relo export`, by OpenVINO.
//
//   relo::Tracker tracker("exported");              // the folder of tracker.json, step.onnx and template.onnx
//   tracker.init(frame, {x, y, w, h});              // relo::Image, uint8 RGB; pixels, counted from 0
//   relo::Result result = tracker.update(frame);    // .box, .score, .found
//
// A frame: cut the search region, a square around the last box; run step.onnx, which gives the box in it and carries
// the temporal tokens; map the box back. Every `update_interval` frames template.onnx encodes a second template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "crop.h"

namespace relo {

struct Result {
  Box box;
  float score;      // in [0, 1]; of a calibrated export the probability that the box is right
  bool found;       // false from `found_frames` scores in a row below `found_threshold` until as many reach it again
  float response;   // maximum of the policy's logits times the window
  std::vector<float> policy;  // g x g cells of the search region, row by row; sums to 1
};

// Follows one target through one video at a time. Bad input is a std::runtime_error that says what to do.
class Tracker {
 public:
  // precision: of the graphs, "float32" or another that was exported; threads: of the processor, 0 for all; device: of
  // OpenVINO, such as "GPU".
  explicit Tracker(const std::string& folder, const std::string& precision = "float32", int threads = 0,
                   const std::string& device = "CPU");
  ~Tracker();

  // Begins a video with the target's box in its first frame.
  void init(const Image& frame, const std::array<double, 4>& box);

  // Finds the target in the next frame.
  Result update(const Image& frame);

 private:
  struct Graphs;
  struct Rules {
    int search_size, template_size, templates, update_interval, found_frames;
    double search_factor, template_factor, found_threshold;
    float update_threshold;
  };

  // The tokens of the template around a box, in double or float as `crop_window`.
  template <class T>
  std::vector<float> encode(const Image& frame, const std::array<T, 4>& box);

  Rules rules_;
  std::unique_ptr<Graphs> graphs_;
  bool begun_ = false;
  Box box_{};
  Window window_{};
  int frames_ = 0;
  double level_ = 1;            // crosses the threshold when the last `found_frames` scores lie on its other side
  std::vector<double> recent_;  // scores
};

}  // namespace relo
