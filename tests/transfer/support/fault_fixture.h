#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/transfer/support/deadline.h"
#include "tests/transfer/support/disks.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/copy.h"
#include "transfer/open_sink.h"
#include "transfer/sources/http.h"
#include "transfer/sources/imageio.h"
#include "transfer/sources/nbd.h"

// For tests that copy from servers which fail, with little patience. VMFERRY_FAULT_ROUNDS: how many
// random copies.
namespace vmferry::testing {

// Each copy takes a second or two; ThreadSanitizer on a busy machine, minutes.
#ifdef __SANITIZE_THREAD__
inline constexpr std::chrono::seconds kDeadline{600};
#else
inline constexpr std::chrono::seconds kDeadline{100};
#endif

inline constexpr std::uint64_t kSizes[] = {0,
                                           1,
                                           511,
                                           512,
                                           4097,
                                           kChunkBytes - 1,
                                           kChunkBytes,
                                           kChunkBytes + 1,
                                           3 * kChunkBytes + 513,
                                           6 * kChunkBytes + 4096};

inline int rounds(int usual) {
  const char* text = std::getenv("VMFERRY_FAULT_ROUNDS");
  return text != nullptr ? std::max(1, std::atoi(text)) : usual;
}

inline NbdOptions quick_nbd() {
  NbdOptions options;
  options.connect_deadline = std::chrono::seconds(2);
  options.watchdog = std::chrono::seconds(3);
  options.reconnect = {.first = std::chrono::milliseconds(5), .cap = std::chrono::milliseconds(50)};
  options.reconnect_limit = std::chrono::seconds(10);
  options.retry_delays = {std::chrono::milliseconds(1), std::chrono::milliseconds(5),
                          std::chrono::milliseconds(20)};
  return options;
}

inline Result<std::unique_ptr<DiskSource>> open_nbd(const std::string& uri) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::Nbd;
  endpoint.url = uri;
  return std::unique_ptr<DiskSource>(TRY(open_nbd_source(endpoint, "", quick_nbd(), Logger(), {})));
}

inline HttpPatience quick_http() {
  HttpPatience patience;
  patience.backoff = {.first = std::chrono::milliseconds(1), .cap = std::chrono::milliseconds(4)};
  patience.retries = 3;
  patience.stall_timeout = std::chrono::seconds(2);
  return patience;
}

inline Result<std::unique_ptr<DiskSource>> open_image(const std::string& url, std::uint64_t size) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::Imageio;
  endpoint.url = url;
  endpoint.size_bytes = size;
  ImageioSource::Options options;
  options.patience = quick_http();
  return std::unique_ptr<DiskSource>(TRY(ImageioSource::open(endpoint, {}, options, Logger(), {})));
}

inline Result<std::unique_ptr<DiskSource>> open_http(const std::string& url) {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::HttpRange;
  endpoint.url = url;
  endpoint.request_bytes = 1u << 20;
  HttpSource::Options options;
  options.patience = quick_http();
  return std::unique_ptr<DiskSource>(TRY(HttpSource::open(endpoint, {}, options, Logger(), {})));
}

inline Result<CopyResult> copy(DiskSource& source, DiskSink& sink, Journal* journal = nullptr) {
  CopyOptions options;
  options.checkpoint_every = std::chrono::milliseconds(10);
  CopyMonitor monitor;
  const SystemClock clock;
  return copy_disk(source, sink, journal, nullptr, options, monitor, clock, Logger(), {});
}

inline Result<CopyResult> copy_to(DiskSource& source, const std::string& path) {
  const std::unique_ptr<DiskSink> sink =
      TRY(open_sink({.path = path, .size_bytes = source.size_bytes()}));
  return copy(source, *sink);
}

// What a failed copy may say: something that happened, never "our own fault".
inline void expect_clean(const Error& error) {
  EXPECT_NE(error.kind(), ErrorKind::Internal) << to_string(error);
  EXPECT_NE(error.kind(), ErrorKind::Canceled) << to_string(error);
  EXPECT_FALSE(error.message().empty());
}

class FaultsComponentTest : public ::testing::Test {
 protected:
  // Disk content of which some is zero, in a file for the server.
  Bytes make_disk(std::uint64_t size) {
    Bytes disk = random_disk(size, random_).content;
    image_ = workspace_.write("served.img", disk);
    return disk;
  }
  std::string percent() { return std::to_string(1 + random_() % 30) + "%"; }

  // nbdkit's arguments: filters, plugin, and their parameters, as chance has it.
  std::vector<std::string> random_server() {
    std::vector<std::string> filters;
    std::vector<std::string> parameters;
    const auto add = [&](const char* filter, std::vector<std::string> more) {
      filters.push_back(std::string("--filter=") + filter);
      parameters.insert(parameters.end(), more.begin(), more.end());
    };
    if (random_() % 2 == 0) add("error", {"error-pread=EIO", "error-pread-rate=" + percent()});
    if (random_() % 3 == 0) add("delay", {"delay-read=" + std::to_string(random_() % 20) + "ms"});
    if (random_() % 4 == 0) add("noextents", {});
    if (random_() % 3 == 0) {
      add("blocksize-policy",
          {"blocksize-minimum=" + std::to_string(1u << random_() % 13), "blocksize-preferred=4096",
           "blocksize-maximum=" + std::to_string(65536u << random_() % 5),
           "blocksize-error-policy=error"});
    }
    filters.insert(filters.end(), {"file", image_});
    filters.insert(filters.end(), parameters.begin(), parameters.end());
    return filters;
  }

  std::mt19937_64 random_{std::random_device{}()};
  Workspace workspace_;
  std::string image_;
};

}  // namespace vmferry::testing
