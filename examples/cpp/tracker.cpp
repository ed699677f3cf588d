// SPDX-License-Identifier: Apache-2.0
#include "tracker.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include <nlohmann/json.hpp>
#include <openvino/runtime/core.hpp>

namespace relo {
namespace {

constexpr int kFormat = 1;  // of tracker.json

[[noreturn]] void refuse(const std::string& why) { throw std::runtime_error(why); }

nlohmann::json read_description(const std::string& folder) {
  const std::string path = folder + "/tracker.json";
  std::ifstream file(path);
  if (!file) refuse(folder + " has no tracker.json: give a folder that relo export wrote");
  const auto described = nlohmann::json::parse(file, nullptr, false);
  if (!described.is_object() || !described.contains("format")) refuse(path + " cannot be read: export again");
  if (described["format"] != kFormat) refuse(path + " has format " + described["format"].dump() + ", this reads 1");
  if (described.at("batch").is_null())
    refuse(folder + " has programs of StableHLO, which JAX runs: export without --format stablehlo");
  if (described["batch"] != 1) refuse(path + " is of graphs for several targets: export with --batch 1");
  return described;
}

void check_frame(const Image& frame) {
  if (frame.pixels == nullptr || frame.width < 1 || frame.height < 1) refuse("the frame has no pixels");
}

void check_box(const std::array<double, 4>& box, const Image& frame) {
  const auto [x, y, w, h] = box;
  std::ostringstream given, size;
  given << "box x,y,w,h = " << x << ',' << y << ',' << w << ',' << h;
  size << frame.width << " x " << frame.height << " pixels";
  for (double value : box)
    if (!std::isfinite(value)) refuse(given.str() + " is not finite: give four numbers in pixels");
  if (w <= 0 || h <= 0) refuse(given.str() + " has no area: width and height must be above 0");
  if (x >= frame.width || y >= frame.height || x + w <= 0 || y + h <= 0)
    refuse(given.str() + " lies outside the frame of " + size.str());
  if (std::sqrt(w) * std::sqrt(h) > std::max({2 * frame.width, 2 * frame.height, 1000}))
    refuse(given.str() + " is far larger than the frame of " + size.str());
}

std::vector<float> values(const ov::Tensor& tensor) {
  return {tensor.data<float>(), tensor.data<float>() + tensor.get_size()};
}

}  // namespace

// The compiled graphs, and what the step carries from frame to frame.
struct Tracker::Graphs {
  ov::InferRequest encoder, step;
  std::vector<std::string> states;

  void set(const std::string& name, const std::vector<float>& numbers) {
    ov::Tensor tensor = step.get_tensor(name);
    if (tensor.get_size() != numbers.size()) refuse("the graphs and tracker.json do not belong together: export again");
    std::copy(numbers.begin(), numbers.end(), tensor.data<float>());
  }
};

Tracker::Tracker(const std::string& folder, const std::string& precision, int threads, const std::string& device) {
  const nlohmann::json described = read_description(folder);
  const auto& graphs = described.at("graphs");
  if (!graphs.contains(precision)) refuse(folder + " has no graphs in " + precision + ": export it again");
  rules_ = {described.at("search_size"),      described.at("template_size"),   described.at("templates"),
            described.at("update_interval"),  described.at("found_frames"),    described.at("search_factor"),
            described.at("template_factor"),  described.at("found_threshold"), described.at("update_threshold")};
  if (rules_.update_interval > 0 && rules_.templates != 2)
    refuse(folder + "/tracker.json has update_interval " + std::to_string(rules_.update_interval) + ", but templates " +
           std::to_string(rules_.templates) + ", and only the second of 2 is replaced: set update_interval to 0");
  if (rules_.found_frames < 1) refuse(folder + "/tracker.json has no found_frames from 1: export again");
  ov::AnyMap settings{{"PERFORMANCE_HINT", "LATENCY"}};
  if (precision != "float16") settings["INFERENCE_PRECISION_HINT"] = "f32";  // else some processors take bfloat16
  if (threads > 0) settings["INFERENCE_NUM_THREADS"] = threads;
  ov::Core core;
  graphs_ = std::make_unique<Graphs>();
  const auto open = [&](const char* name) {
    const std::string path = folder + "/" + graphs.at(precision).at(name).at("file").get<std::string>();
    if (!std::ifstream(path)) refuse(path + " is not there, but tracker.json names it: copy the whole folder");
    return core.compile_model(path, device, settings).create_infer_request();
  };
  graphs_->encoder = open("template");
  graphs_->step = open("step");
  for (const auto& state : described.at("state").items()) graphs_->states.push_back(state.key());
  const auto takes = [](ov::InferRequest& graph, const char* name, std::size_t size) {
    return graph.get_tensor(name).get_shape() == ov::Shape{1, size, size, 3};
  };
  if (!takes(graphs_->step, "search", rules_.search_size) || !takes(graphs_->encoder, "image", rules_.template_size))
    refuse("the graphs of " + folder + " and its tracker.json do not belong together: export again");
}

Tracker::~Tracker() = default;

void Tracker::init(const Image& frame, const std::array<double, 4>& box) {
  check_frame(frame);
  check_box(box, frame);
  const std::vector<float> first = encode(frame, box);
  std::vector<float> templates;
  for (int slot = 0; slot < rules_.templates; ++slot) templates.insert(templates.end(), first.begin(), first.end());
  graphs_->set("templates", templates);
  for (const std::string& state : graphs_->states)
    graphs_->set(state, std::vector<float>(graphs_->step.get_tensor(state).get_size()));
  std::copy(box.begin(), box.end(), box_.begin());
  window_ = crop_window(box, rules_.search_factor);
  frames_ = 0;
  level_ = 1;
  recent_.assign(rules_.found_frames, 1.0);
  begun_ = true;
}

Result Tracker::update(const Image& frame) {
  if (!begun_) refuse("update was called before init: give the first frame and its box first");
  check_frame(frame);
  ov::InferRequest& step = graphs_->step;
  const std::vector<std::uint8_t> search = cut(frame, window_, rules_.search_size);
  std::copy(search.begin(), search.end(), step.get_tensor("search").data<std::uint8_t>());
  *static_cast<bool*>(step.get_tensor("first").data()) = frames_ == 0;
  step.infer();

  const float score = step.get_tensor("score").data<float>()[0], response = step.get_tensor("response").data<float>()[0];
  const float* relative = step.get_tensor("box").data<float>();
  const Box box = clip_box(box_from_crop(relative, box_, window_.side, rules_.search_size), frame);
  if (!std::all_of(box.begin(), box.end(), [](float v) { return std::isfinite(v); }) || !std::isfinite(score))
    refuse("the network's box is not finite: are its weights? Use another export");
  box_ = box;
  window_ = crop_window(box_, rules_.search_factor);
  for (const std::string& state : graphs_->states) graphs_->set(state, values(step.get_tensor("new_" + state)));
  ++frames_;
  if (rules_.update_interval > 0 && frames_ % rules_.update_interval == 0 && response > rules_.update_threshold) {
    std::vector<float> templates = values(step.get_tensor("templates"));
    const std::vector<float> second = encode(frame, box_);  // slot 0 stays the first frame's
    std::copy(second.begin(), second.end(), templates.begin() + second.size());
    graphs_->set("templates", templates);
  }
  recent_.erase(recent_.begin());
  recent_.push_back(score);
  const auto [low, high] = std::minmax_element(recent_.begin(), recent_.end());
  level_ = std::min(std::max(level_, *low), *high);
  return {box_, score, level_ >= rules_.found_threshold, response, values(step.get_tensor("policy"))};
}

template <class T>
std::vector<float> Tracker::encode(const Image& frame, const std::array<T, 4>& box) {
  const Window window = crop_window(box, rules_.template_factor);
  const std::vector<std::uint8_t> crop = cut(frame, window, rules_.template_size);
  ov::InferRequest& encoder = graphs_->encoder;
  std::copy(crop.begin(), crop.end(), encoder.get_tensor("image").data<std::uint8_t>());
  float* place = encoder.get_tensor("box").data<float>();
  for (int axis : {0, 1}) {  // the release takes size - 1 for the side here
    const T resize_factor = static_cast<T>(static_cast<double>(rules_.template_size) / window.side);
    const T extent = box[axis + 2] * resize_factor / static_cast<T>(rules_.template_size - 1);
    place[axis] = static_cast<float>(T(0.5) - T(0.5) * extent);
    place[axis + 2] = static_cast<float>(extent);
  }
  encoder.infer();
  return values(encoder.get_tensor("template"));
}

}  // namespace relo
