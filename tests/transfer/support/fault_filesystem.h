#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "common/fd.h"
#include "tests/transfer/support/disks.h"

namespace vmferry::testing {

// A mounted FUSE file system with one file in memory, "disk.img", which fails as it is told: the
// kernel's whole path between the sink and a broken disk. Speaks the kernel's protocol itself
// (linux/fuse.h), so no library is needed; needs root and /dev/fuse.
class FaultFilesystem {
 public:
  // Each answers an errno, 0 for none. Called on the file system's thread; set before the copy.
  struct Faults {
    // May lower `length`: only so much is written.
    std::function<int(std::uint64_t offset, std::uint32_t& length)> on_write;
    std::function<int()> on_fsync;
    std::function<int(std::uint64_t offset)> on_read;
    // The write is acknowledged and never happens.
    std::function<bool(std::uint64_t offset)> loses_write;
    // Files open with O_DIRECT; reading and writing them so is EINVAL.
    bool refuses_direct_io = false;
  };
  // Nothing when this machine cannot mount one.
  static std::unique_ptr<FaultFilesystem> create(Faults faults);
  ~FaultFilesystem();
  FaultFilesystem(const FaultFilesystem&) = delete;
  FaultFilesystem& operator=(const FaultFilesystem&) = delete;

  std::string target() const { return directory_.path("disk.img"); }
  Bytes content() const;

 private:
  struct Request;
  explicit FaultFilesystem(Faults faults) : faults_(std::move(faults)) {}
  void serve();
  void answer(const Request& request);
  void reply(const Request& request, int error_number, std::span<const std::byte> body = {}) const;
  template <typename T>
  void reply_with(const Request& request, const T& body) const;
  void read(const Request& request);
  void write(const Request& request);
  void set_attributes(const Request& request);

  const Faults faults_;
  TemporaryDirectory directory_;
  UniqueFd device_;
  bool mounted_ = false;
  mutable std::mutex mutex_;
  bool exists_ = false;
  Bytes content_;
  std::jthread thread_;
};

}  // namespace vmferry::testing
