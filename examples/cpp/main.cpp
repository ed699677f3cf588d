// SPDX-License-Identifier: Apache-2.0
// Tracks through a video (with OpenCV) or through PPM files, and prints x,y,w,h,score,found of each frame.
#include <charconv>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tracker.h"

#ifdef WITH_OPENCV
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#endif

namespace {

using Visit = std::function<void(const relo::Image&)>;

void read_ppm(const std::string& path, const Visit& visit) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int width = 0, height = 0, most = 0;
  file >> kind >> width >> height >> most;
  if (!file || kind != "P6" || most != 255 || width < 1 || height < 1)
    throw std::runtime_error(path + " is no PPM file (P6, 255): ffmpeg -i VIDEO frames/%05d.ppm makes such files");
  file.get();
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width) * height * 3);
  if (!file.read(reinterpret_cast<char*>(pixels.data()), static_cast<std::streamsize>(pixels.size())))
    throw std::runtime_error(path + " ends early");
  visit({height, width, pixels.data()});
}

void read_video(const std::string& path, const Visit& visit) {
#ifdef WITH_OPENCV
  cv::VideoCapture video(path);
  cv::Mat bgr, rgb;
  while (video.read(bgr)) {
    cv::cvtColor(bgr, rgb, cv::COLOR_BGR2RGB);
    visit({rgb.rows, rgb.cols, rgb.data});
  }
#else
  (void)visit;
  throw std::runtime_error(path + " is no PPM file, and this program was built without OpenCV, which reads videos");
#endif
}

std::array<double, 4> parse_box(const std::string& text) {
  std::array<double, 4> box{};
  int end = 0;
  const int count = std::sscanf(text.c_str(), "%lf,%lf,%lf,%lf%n", &box[0], &box[1], &box[2], &box[3], &end);
  if (count != 4 || end != static_cast<int>(text.size()))
    throw std::runtime_error("--box is " + text + ": give X,Y,W,H in pixels");
  return box;
}

int parse_threads(const std::string& text) {
  int threads = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, threads);
  if (error != std::errc() || stop != end || threads < 1)
    throw std::runtime_error("--threads is " + text + ": give a whole number from 1, or leave it out for all");
  return threads;
}

int run(const std::vector<std::string>& arguments) {
  std::string folder, precision = "float32";
  std::array<double, 4> box{};
  std::vector<std::string> sources;
  int threads = 0;
  bool has_box = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (name.rfind("--", 0) != 0) {
      (folder.empty() ? folder : sources.emplace_back()) = name;
      continue;
    }
    if (++i == arguments.size()) throw std::runtime_error(name + " needs a value");
    const std::string& value = arguments[i];
    if (name == "--box") {
      box = parse_box(value);
      has_box = true;
    } else if (name == "--precision") {
      precision = value;
    } else if (name == "--threads") {
      threads = parse_threads(value);
    } else {
      throw std::runtime_error("there is no option " + name);
    }
  }
  if (folder.empty() || sources.empty() || !has_box)
    throw std::runtime_error("usage: relo_track FOLDER --box X,Y,W,H [--precision P] [--threads N] VIDEO | *.ppm");

  relo::Tracker tracker(folder, precision, threads);
  int count = 0;
  const Visit visit = [&](const relo::Image& frame) {
    if (count++ == 0) {
      tracker.init(frame, box);
      std::printf("%.4f,%.4f,%.4f,%.4f,1,1\n", box[0], box[1], box[2], box[3]);
      return;
    }
    const relo::Result found = tracker.update(frame);
    std::printf("%.4f,%.4f,%.4f,%.4f,%.4f,%d\n", found.box[0], found.box[1], found.box[2], found.box[3], found.score,
                found.found);
  };
  for (const std::string& source : sources) {
    const bool is_ppm = source.size() > 4 && source.compare(source.size() - 4, 4, ".ppm") == 0;
    (is_ppm ? read_ppm : read_video)(source, visit);
  }
  if (count == 0) throw std::runtime_error(sources[0] + " has no frames");
  return 0;
}

}  // namespace

int main(int count, char** values) {
  try {
    return run({values + 1, values + count});
  } catch (const std::exception& error) {
    std::cerr << "relo_track: " << error.what() << std::endl;
    return 1;
  }
}
