// Systems under test that answer LoadGen without Python, compiled with LoadGen's own sources.
//
// Python opens the engine and captures the CUDA graphs; here they are launched. A lane is one batch
// in flight: its sample numbers are written to `rows`, a graph is launched, an event is waited for,
// and the largest logit of each row is the response, a little-endian int64.
//
// The structures are those of `autosinian/native/lanes.py`, field by field.

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "loadgen.h"
#include "query_sample.h"
#include "system_under_test.h"

extern "C" {

struct AutosinianLane {
  void* stream;
  void* event;
  void* const* graphs;     // one executable graph for each of `sizes`
  const int32_t* sizes;    // ascending
  int32_t sizes_count;
  int32_t classes;
  uint64_t* rows;          // the largest of `sizes`
  uint64_t row_scale;      // rows[i] = row * row_scale + row_base
  uint64_t row_base;
  uint64_t row_fill;       // what rows beyond the batch hold
  const float* logits;     // largest x classes
  // Where `start` is not null the lane is no CUDA graph: both return 0, or what went wrong.
  int (*start)(void* self, int32_t size, int32_t count);
  int (*finish)(void* self);
  void* self;
};

struct AutosinianSession {
  int32_t streams;
  int32_t lanes_a_stream;
  int32_t batch_size;
  int32_t inline_answers;      // 1: a query that fits a batch is answered where it arrives
  int32_t batches_queries;     // 1: queries wait for others (Server)
  int32_t in_flight;           // batches at once while queries wait
  double deque_timeout_us;
  double pace_one_us;          // what a batch of one sample, and a full one, take of the device's
  double pace_full_us;         // time; 0 where partial batches leave as soon as they can
  AutosinianLane* lanes;       // streams * lanes_a_stream, stream by stream, then the own one
  const int64_t* row_of;       // of each sample; negative where it is not loaded
  int64_t samples;
  void (*abort)(const char* reason);
};
}

namespace {

using Clock = std::chrono::steady_clock;

// The driver, found at run time: the same library serves machines with and without a GPU.
struct Driver {
  int (*launch)(void* graph, void* stream) = nullptr;
  int (*record)(void* event, void* stream) = nullptr;
  int (*synchronize)(void* event) = nullptr;
  int (*get_context)(void** context) = nullptr;
  int (*set_context)(void* context) = nullptr;

  bool open() {
    void* library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == nullptr) return false;
    launch = reinterpret_cast<decltype(launch)>(dlsym(library, "cuGraphLaunch"));
    record = reinterpret_cast<decltype(record)>(dlsym(library, "cuEventRecord"));
    synchronize = reinterpret_cast<decltype(synchronize)>(dlsym(library, "cuEventSynchronize"));
    get_context = reinterpret_cast<decltype(get_context)>(dlsym(library, "cuCtxGetCurrent"));
    set_context = reinterpret_cast<decltype(set_context)>(dlsym(library, "cuCtxSetCurrent"));
    return launch && record && synchronize && get_context && set_context;
  }
};

// As numpy's argmax: the first of equals, the first NaN before everything.
int64_t largest(const float* row, int32_t count) {
  // Lanes that do not wait for each other, which compilers make vectors of.
  constexpr int32_t kLanes = 16;
  if (count < 1) return 0;
  float most[kLanes];
  int unordered[kLanes] = {};
  std::fill(most, most + kLanes, row[0]);
  int32_t first = 0;
  for (; first + kLanes <= count; first += kLanes) {
    for (int32_t lane = 0; lane < kLanes; ++lane) {
      const float value = row[first + lane];
      unordered[lane] |= value != value;
      most[lane] = value > most[lane] ? value : most[lane];
    }
  }
  float best = row[0];
  bool any = false;
  for (int32_t lane = 0; lane < kLanes; ++lane) {
    any |= unordered[lane] != 0;
    best = most[lane] > best ? most[lane] : best;
  }
  for (int32_t i = first; i < count; ++i) {
    any |= std::isnan(row[i]);
    best = row[i] > best ? row[i] : best;
  }
  if (any) return std::find_if(row, row + count, [](float v) { return std::isnan(v); }) - row;
  return std::find(row, row + count, best) - row;
}

struct Batch {
  int lane;
  std::vector<mlperf::ResponseId> ids;
};

class Sut : public mlperf::SystemUnderTest {
 public:
  explicit Sut(const AutosinianSession& session) : session_(session) {
    own_ = session.streams * session.lanes_a_stream;
    if (session.lanes[0].start == nullptr) {
      if (!driver_.open() || driver_.get_context(&context_) != 0) {
        session.abort("libcuda.so.1 must be usable, but is not");
        return;
      }
    }
    permits_ = session.in_flight;
    for (int lane = 0; lane < session.lanes_a_stream; ++lane)
      for (int stream = 0; stream < session.streams; ++stream)
        free_.push_back(stream * session.lanes_a_stream + lane);
    started_.resize(session.streams);
    running_.resize(session.streams);
    started_changed_ = std::vector<std::condition_variable>(session.streams);
    for (int stream = 0; stream < session.streams; ++stream)
      threads_.emplace_back([this, stream] { complete_stream(stream); });
    if (session.batches_queries) threads_.emplace_back([this] { batch_queries(); });
  }

  ~Sut() override {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (session_.batches_queries) {
        freed_.wait(lock, [this] { return (arrived_.empty() && !batching_) || failed_; });
      }
      closing_ = true;
    }
    wake_all();
    for (auto& thread : threads_) thread.join();
  }

  const std::string& Name() override { return name_; }

  void FlushQueries() override {}

  void IssueQuery(const std::vector<mlperf::QuerySample>& samples) override {
    if (session_.batches_queries) {
      const auto now = Clock::now();
      bool waited_for = false;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        for (const auto& sample : samples) arrived_.push_back({sample, now});
        // One that fills a batch, or that may begin one; those between need not wake it.
        waited_for = batching_ ? arrived_.size() >= size_t(session_.batch_size) : permits_ > 0;
      }
      if (waited_for) arrived_changed_.notify_one();
      return;
    }
    const size_t size = session_.batch_size;
    if (session_.inline_answers && samples.size() <= size) {
      if (start(own_, samples.data(), samples.size())) {
        answer(own_, ids_of(samples.data(), samples.size()));
      }
      return;
    }
    for (size_t first = 0; first < samples.size(); first += size) {
      if (!submit(samples.data() + first, std::min(size, samples.size() - first))) return;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    freed_.wait(lock, [this] { return free_.size() == size_t(own_) || failed_; });
  }

 private:
  struct Arrived {
    mlperf::QuerySample sample;
    Clock::time_point since;
  };

  static std::vector<mlperf::ResponseId> ids_of(const mlperf::QuerySample* samples, size_t count) {
    std::vector<mlperf::ResponseId> ids(count);
    for (size_t i = 0; i < count; ++i) ids[i] = samples[i].id;
    return ids;
  }

  void wake_all() {
    freed_.notify_all();
    arrived_changed_.notify_all();
    for (auto& changed : started_changed_) changed.notify_all();
  }

  void fail(const std::string& reason) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      failed_ = true;
    }
    wake_all();
    session_.abort(reason.c_str());
  }

  bool check(int status, const char* what) {
    if (status == 0) return true;
    fail(std::string(what) + " failed with status " + std::to_string(status));
    return false;
  }

  bool enter() {
    thread_local bool entered = false;
    if (entered || context_ == nullptr) return true;
    entered = true;
    return check(driver_.set_context(context_), "cuCtxSetCurrent");
  }

  bool start(int number, const mlperf::QuerySample* samples, size_t count) {
    const AutosinianLane& lane = session_.lanes[number];
    for (size_t i = 0; i < count; ++i) {
      const size_t index = samples[i].index;
      const int64_t row = index < size_t(session_.samples) ? session_.row_of[index] : -1;
      if (row < 0) {
        fail("sample " + std::to_string(index) + " must be loaded before it is asked for");
        return false;
      }
      lane.rows[i] = uint64_t(row) * lane.row_scale + lane.row_base;
    }
    int32_t which = 0;
    while (size_t(lane.sizes[which]) < count) ++which;
    for (size_t i = count; i < size_t(lane.sizes[which]); ++i) lane.rows[i] = lane.row_fill;
    if (lane.start != nullptr) {
      return check(lane.start(lane.self, lane.sizes[which], int32_t(count)), "a lane's start");
    }
    return enter() && check(driver_.launch(lane.graphs[which], lane.stream), "cuGraphLaunch") &&
           check(driver_.record(lane.event, lane.stream), "cuEventRecord");
  }

  // Wait for a lane's batch and respond; without Python's lock, which nobody here holds.
  bool answer(int number, const std::vector<mlperf::ResponseId>& ids) {
    const AutosinianLane& lane = session_.lanes[number];
    if (lane.finish != nullptr) {
      if (!check(lane.finish(lane.self), "a lane's finish")) return false;
    } else if (!enter() || !check(driver_.synchronize(lane.event), "cuEventSynchronize")) {
      return false;
    }
    thread_local std::vector<int64_t> labels;
    thread_local std::vector<mlperf::QuerySampleResponse> responses;
    labels.resize(ids.size());
    responses.clear();
    for (size_t i = 0; i < ids.size(); ++i) {
      labels[i] = largest(lane.logits + i * lane.classes, lane.classes);
      responses.emplace_back(ids[i], reinterpret_cast<uintptr_t>(&labels[i]), sizeof(int64_t));
    }
    mlperf::QuerySamplesComplete(responses.data(), responses.size());
    return true;
  }

  // Take the lane that has been free longest of the streams with the fewest batches in flight: two
  // batches on one stream would be computed one after the other while another stream is idle.
  int take() {
    auto best = free_.begin();
    for (auto lane = free_.begin(); lane != free_.end(); ++lane)
      if (running_[stream_of(*lane)] < running_[stream_of(*best)]) best = lane;
    const int lane = *best;
    free_.erase(best);
    ++running_[stream_of(lane)];
    return lane;
  }

  int stream_of(int lane) const { return lane / session_.lanes_a_stream; }

  // Start a batch; waits while no lane is free.
  bool submit(const mlperf::QuerySample* samples, size_t count) {
    int lane = 0;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      freed_.wait(lock, [this] { return !free_.empty() || failed_; });
      if (failed_) return false;
      lane = take();
    }
    if (!start(lane, samples, count)) return false;
    const int stream = stream_of(lane);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      started_[stream].push_back({lane, ids_of(samples, count)});
    }
    started_changed_[stream].notify_one();
    return true;
  }

  void complete_stream(int stream) {
    while (true) {
      Batch batch;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        started_changed_[stream].wait(
            lock, [&] { return !started_[stream].empty() || closing_ || failed_; });
        if (started_[stream].empty() || failed_) return;
        batch = std::move(started_[stream].front());
        started_[stream].pop_front();
      }
      if (!answer(batch.lane, batch.ids)) return;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        free_.push_back(batch.lane);
        --running_[stream];
        ++permits_;
      }
      freed_.notify_all();
      if (session_.batches_queries) arrived_changed_.notify_one();
    }
  }

  // What a batch of `count` samples takes of the device's time.
  std::chrono::nanoseconds pace(size_t count) const {
    const double most = std::max(1, session_.batch_size - 1);
    const double share = session_.batch_size > 1 ? double(count - 1) / most : 1.0;
    const double us =
        session_.pace_one_us + share * (session_.pace_full_us - session_.pace_one_us);
    return std::chrono::nanoseconds(int64_t(us * 1000.0));
  }

  // A batch leaves when it is full, or when its first query has waited long enough and the batch
  // before has had its time on the device: batches that leave together end together, and then those
  // who have just arrived wait for all of them. While as many as may be are in flight it goes on
  // growing.
  void batch_queries() {
    const size_t size = session_.batch_size;
    const auto timeout =
        std::chrono::nanoseconds(int64_t(session_.deque_timeout_us * 1000.0));
    std::vector<mlperf::QuerySample> batch;
    auto paced_until = Clock::time_point::min();
    while (true) {
      batch.clear();
      {
        std::unique_lock<std::mutex> lock(mutex_);
        arrived_changed_.wait(lock, [this] {
          return (!arrived_.empty() && permits_ > 0) || (arrived_.empty() && closing_) || failed_;
        });
        if (arrived_.empty() || failed_) return;
        batching_ = true;
        --permits_;
        const auto leaves = std::max(
            std::chrono::time_point_cast<Clock::duration>(arrived_.front().since + timeout),
            paced_until);
        arrived_changed_.wait_until(
            lock, leaves, [&] { return arrived_.size() >= size || closing_ || failed_; });
        while (batch.size() < size && !arrived_.empty()) {
          batch.push_back(arrived_.front().sample);
          arrived_.pop_front();
        }
      }
      paced_until = Clock::now() + pace(batch.size());
      const bool sent = submit(batch.data(), batch.size());
      {
        std::lock_guard<std::mutex> lock(mutex_);
        batching_ = false;
      }
      freed_.notify_all();
      if (!sent) return;
    }
  }

  AutosinianSession session_;
  std::string name_ = "autosinian";
  Driver driver_;
  void* context_ = nullptr;
  int own_ = 0;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::condition_variable arrived_changed_;
  std::vector<std::condition_variable> started_changed_;
  std::deque<int> free_;
  std::vector<std::deque<Batch>> started_;
  std::vector<int> running_;  // batches of each stream
  std::deque<Arrived> arrived_;
  int permits_ = 0;
  bool batching_ = false;
  bool closing_ = false;
  bool failed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

extern "C" {

// A system under test as LoadGen's binding takes one; `session` is copied, what it points to is
// read until `autosinian_sut_close`.
__attribute__((visibility("default"))) uintptr_t autosinian_sut_open(
    const AutosinianSession* session) {
  return reinterpret_cast<uintptr_t>(static_cast<mlperf::SystemUnderTest*>(new Sut(*session)));
}

// Lets what has arrived complete, then ends the threads.
__attribute__((visibility("default"))) void autosinian_sut_close(uintptr_t sut) {
  delete reinterpret_cast<mlperf::SystemUnderTest*>(sut);
}
}
