// Detections of a batch, as `autosinian.detection.decoded` makes them: offsets to boxes, the best
// candidates of each class, non-maximum suppression by class, the best of all; in several threads.
//
// numpy's order of operations in float32 is kept, so that but for the exponential's last bit the
// same detections come out; compile without contraction to fused multiply-adds.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

extern "C" {

// The structure of `autosinian/native/detections.py`, field by field.
struct AutosinianDecoder {
  int32_t boxes;
  int32_t classes;          // with the background, which is the first
  const float* defaults;    // boxes x 4: x, y of the centre, width, height
  float centre_variance;
  float size_variance;
  float score;
  float overlap;
  int32_t candidates;
  int32_t kept;
};
}

namespace {

constexpr int kColumns = 7;  // image, top, left, bottom, right, score, class

struct Box {
  float left, top, right, bottom;
  float area() const { return (right - left) * (bottom - top); }
};

struct Found {
  Box box;
  float score;
  int32_t label;
};

// Not std::clamp: what is no number stays one.
float within(float value) { return value < 0.0f ? 0.0f : (value > 1.0f ? 1.0f : value); }

Box corners(const AutosinianDecoder& decoder, const float* offsets, int32_t box) {
  const int32_t boxes = decoder.boxes;
  const float* base = decoder.defaults + 4 * size_t(box);
  const float x = offsets[box] * decoder.centre_variance * base[2] + base[0];
  const float y = offsets[boxes + box] * decoder.centre_variance * base[3] + base[1];
  const float half_width =
      std::exp(offsets[2 * size_t(boxes) + box] * decoder.size_variance) * base[2] / 2.0f;
  const float half_height =
      std::exp(offsets[3 * size_t(boxes) + box] * decoder.size_variance) * base[3] / 2.0f;
  return {within(x - half_width), within(y - half_height), within(x + half_width),
          within(y + half_height)};
}

bool covers(const Box& better, float better_area, const Box& other, float area, float overlap) {
  const float width = std::min(better.right, other.right) - std::max(better.left, other.left);
  const float height = std::min(better.bottom, other.bottom) - std::max(better.top, other.top);
  const float common = std::max(width, 0.0f) * std::max(height, 0.0f);
  return common > overlap * (better_area + area - common);
}

// Places of the scores above `least`; most blocks have none, which vector instructions see.
void choose(const float* scores, int32_t count, float least, std::vector<int32_t>& chosen) {
  constexpr int32_t kBlock = 32;
  chosen.clear();
  for (int32_t first = 0; first < count; first += kBlock) {
    const int32_t end = std::min(first + kBlock, count);
    int32_t above = 0;
    for (int32_t i = first; i < end; ++i) above += scores[i] > least;
    if (above == 0) continue;
    for (int32_t i = first; i < end; ++i)
      if (scores[i] > least) chosen.push_back(i);
  }
}

// One image's detections, best first; how many.
int32_t decode(const AutosinianDecoder& decoder, const float* output, float index, float* rows) {
  const int32_t boxes = decoder.boxes;
  thread_local std::vector<int32_t> chosen;
  thread_local std::vector<Box> places;
  thread_local std::vector<float> areas;
  thread_local std::vector<char> dropped;
  thread_local std::vector<Found> found;
  found.clear();
  for (int32_t label = 1; label < decoder.classes; ++label) {
    const float* scores = output + (4 + size_t(label)) * boxes;
    choose(scores, boxes, decoder.score, chosen);
    std::stable_sort(chosen.begin(), chosen.end(),
                     [scores](int32_t a, int32_t b) { return scores[a] > scores[b]; });
    if (chosen.size() > size_t(decoder.candidates)) chosen.resize(decoder.candidates);
    places.clear();
    areas.clear();
    for (int32_t box : chosen) {
      places.push_back(corners(decoder, output, box));
      areas.push_back(places.back().area());
    }
    dropped.assign(chosen.size(), 0);
    for (size_t i = 0; i < chosen.size(); ++i) {
      if (dropped[i]) continue;
      for (size_t j = i + 1; j < chosen.size(); ++j)
        dropped[j] |= covers(places[i], areas[i], places[j], areas[j], decoder.overlap);
      found.push_back({places[i], scores[chosen[i]], label});
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Found& a, const Found& b) { return a.score > b.score; });
  const int32_t count = std::min<int32_t>(decoder.kept, int32_t(found.size()));
  for (int32_t i = 0; i < count; ++i, rows += kColumns) {
    const Found& one = found[i];
    const float row[kColumns] = {index, one.box.top, one.box.left, one.box.bottom, one.box.right,
                                 one.score, float(one.label)};
    std::copy(row, row + kColumns, rows);
  }
  return count;
}

}  // namespace

extern "C" {

// `outputs` is images x ((4 + classes) * boxes); `responses`, images x kept x 7, receives
// `counts[i]` rows for image i, which name it by `indices[i]`.
__attribute__((visibility("default"))) void autosinian_detections(
    const AutosinianDecoder* decoder, const float* outputs, const int64_t* indices, int64_t images,
    int32_t threads, float* responses, int32_t* counts) {
  const size_t length = (4 + size_t(decoder->classes)) * decoder->boxes;
  const size_t room = size_t(decoder->kept) * kColumns;
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t image = next++; image < images; image = next++)
      counts[image] = decode(*decoder, outputs + image * length, float(indices[image]),
                             responses + image * room);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(threads, images); ++i) others.emplace_back(work);
  work();
  for (auto& thread : others) thread.join();
}
}
