#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "common/extent.h"
#include "transfer/copy.h"
#include "transfer/sources/memory.h"

namespace vmferry::testing {

using Bytes = std::vector<std::byte>;

// `size` bytes that look random and depend on `seed` alone.
Bytes random_bytes(std::uint64_t size, std::uint64_t seed);

// A disk as a picture, a letter per `unit` bytes: D data, 0 zero, - hole. Returns its extents; the
// last one is cut at `size_bytes` (0: all letters are whole).
std::vector<Extent> extents_of(std::string_view picture, std::uint64_t unit = kChunkBytes,
                               std::uint64_t size_bytes = 0);

// A random disk: extents of random length and content that agrees with them.
struct RandomDisk {
  Bytes content;
  std::vector<Extent> extents;
};
RandomDisk random_disk(std::uint64_t size_bytes, std::mt19937_64& random);

// What a naive reader would compute: the definition of the leaf-root digest, without our code
// paths.
std::string reference_digest(const Bytes& content, HashAlgorithm algorithm);

// The whole file or device at `path`, up to `size_bytes`.
Bytes read_whole(const std::string& path, std::uint64_t size_bytes);
std::uint64_t allocated_bytes(const std::string& path);

// A directory that goes away with its content.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A loop device over a sparse file; needs root and a loop driver.
class LoopDevice {
 public:
  enum class Access { ReadWrite, ReadOnly };
  // Nothing when this machine has none to give.
  static std::unique_ptr<LoopDevice> create(std::uint64_t size_bytes, unsigned sector_bytes = 512,
                                            Access access = Access::ReadWrite);
  ~LoopDevice();
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;
  const std::string& device() const { return device_; }
  std::string backing_file() const { return directory_.path("backing"); }
  void fill(std::byte value, std::uint64_t size_bytes) const;

 private:
  LoopDevice() = default;
  TemporaryDirectory directory_;
  std::string device_;
};

// A tmpfs of limited size, mounted; needs root.
class SmallTmpfs {
 public:
  static std::unique_ptr<SmallTmpfs> create(std::uint64_t size_bytes);
  ~SmallTmpfs();
  SmallTmpfs(const SmallTmpfs&) = delete;
  SmallTmpfs& operator=(const SmallTmpfs&) = delete;
  const std::string& path() const { return directory_.path(); }
  bool make_read_only() const;

 private:
  SmallTmpfs() = default;
  TemporaryDirectory directory_;
  bool mounted_ = false;
};

}  // namespace vmferry::testing
