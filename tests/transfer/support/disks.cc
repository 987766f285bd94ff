#include "tests/transfer/support/disks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/loop.h>
#include <openssl/evp.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "common/fd.h"

namespace vmferry::testing {

Bytes random_bytes(std::uint64_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (std::uint64_t at = 0; at < size; at += 8) {
    const std::uint64_t value = random();
    std::memcpy(bytes.data() + at, &value, std::min<std::uint64_t>(8, size - at));
  }
  return bytes;
}

std::vector<Extent> extents_of(std::string_view picture, std::uint64_t unit,
                               std::uint64_t size_bytes) {
  const std::uint64_t size = size_bytes != 0 ? size_bytes : picture.size() * unit;
  std::vector<Extent> extents;
  std::uint64_t at = 0;
  for (const char letter : picture) {
    const Allocation allocation = letter == 'D'   ? Allocation::Data
                                  : letter == '0' ? Allocation::Zero
                                                  : Allocation::Hole;
    extents.push_back({{at, std::min(unit, size - at)}, allocation});
    at += unit;
  }
  return extents;
}

RandomDisk random_disk(std::uint64_t size_bytes, std::mt19937_64& random) {
  RandomDisk disk{random_bytes(size_bytes, random()), {}};
  constexpr std::uint64_t kLengths[] = {512, 4096, 65536, 70000, kChunkBytes, 3 * kChunkBytes + 17};
  for (std::uint64_t at = 0; at < size_bytes;) {
    const std::uint64_t most = kLengths[random() % std::size(kLengths)];
    const std::uint64_t length = std::min(1 + random() % most, size_bytes - at);
    const auto allocation = static_cast<Allocation>(random() % 3);
    // Zeros where the source says so, at times also where it says data or hole.
    if (allocation == Allocation::Zero || random() % 4 == 0) {
      std::memset(disk.content.data() + at, 0, length);
    }
    disk.extents.push_back({{at, length}, allocation});
    at += length;
  }
  return disk;
}

namespace {

Bytes reference_hash(std::span<const std::byte> data, HashAlgorithm algorithm) {
  if (algorithm == HashAlgorithm::Sha256) {
    Bytes out(32);
    EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr,
               EVP_sha256(), nullptr);
    return out;
  }
  const XXH128_hash_t hash = XXH3_128bits(data.data(), data.size());
  Bytes out;
  for (const std::uint64_t half : {hash.high64, hash.low64}) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      out.push_back(static_cast<std::byte>(half >> shift));
    }
  }
  return out;
}

}  // namespace

std::string reference_digest(const Bytes& content, HashAlgorithm algorithm) {
  Bytes leaves;
  for (std::size_t at = 0; at < content.size(); at += kChunkBytes) {
    const std::size_t length = std::min<std::size_t>(kChunkBytes, content.size() - at);
    const Bytes leaf = reference_hash(std::span(content).subspan(at, length), algorithm);
    leaves.insert(leaves.end(), leaf.begin(), leaf.end());
  }
  std::string text(to_string(algorithm));
  text += ":";
  for (const std::byte byte : reference_hash(leaves, algorithm)) {
    text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return text;
}

Bytes read_whole(const std::string& path, std::uint64_t size_bytes) {
  Bytes bytes(size_bytes);
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const Result<void> read = read_fully(fd.get(), 0, bytes);
  EXPECT_TRUE(read.ok()) << path;
  return bytes;
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat file {};
  EXPECT_EQ(::stat(path.c_str(), &file), 0) << path;
  return static_cast<std::uint64_t>(file.st_blocks) * 512;
}

TemporaryDirectory::TemporaryDirectory() {
  const char* base = std::getenv("TEST_TMPDIR");
  path_ = fmt::format("{}/vmferry-XXXXXX", base != nullptr ? base : "/var/tmp");
  if (::mkdtemp(path_.data()) == nullptr) std::abort();
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::unique_ptr<LoopDevice> LoopDevice::create(std::uint64_t size_bytes, unsigned sector_bytes,
                                               Access access) {
  std::unique_ptr<LoopDevice> loop(new LoopDevice());
  const std::string backing = loop->directory_.path("backing");
  const UniqueFd file(::open(backing.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(size_bytes)) != 0) return nullptr;
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return nullptr;
  for (int attempt = 0; attempt < 20; ++attempt) {  // others take devices as well
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return nullptr;
    const std::string device = fmt::format("/dev/loop{}", number);
    const UniqueFd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd) return nullptr;
    loop_config config{};
    config.fd = static_cast<__u32>(file.get());
    config.block_size = sector_bytes;
    // The loop driver's own flag goes with the file; BLKROSET would stay on the device for others.
    if (access == Access::ReadOnly) config.info.lo_flags = LO_FLAGS_READ_ONLY;
    if (::ioctl(fd.get(), LOOP_CONFIGURE, &config) == 0) {
      loop->device_ = device;
      return loop;
    }
  }
  return nullptr;
}

LoopDevice::~LoopDevice() {
  if (device_.empty()) return;
  const UniqueFd fd(::open(device_.c_str(), O_RDWR | O_CLOEXEC));
  if (fd) ::ioctl(fd.get(), LOOP_CLR_FD, 0);
}

void LoopDevice::fill(std::byte value, std::uint64_t size_bytes) const {
  const Bytes bytes(size_bytes, value);
  const UniqueFd fd(::open(device_.c_str(), O_RDWR | O_CLOEXEC));
  const Result<void> written = write_fully(fd.get(), 0, bytes);
  EXPECT_TRUE(written.ok());
  EXPECT_EQ(::fsync(fd.get()), 0);
}

std::unique_ptr<SmallTmpfs> SmallTmpfs::create(std::uint64_t size_bytes) {
  std::unique_ptr<SmallTmpfs> small(new SmallTmpfs());
  const std::string options = fmt::format("size={}", size_bytes);
  if (::mount("tmpfs", small->path().c_str(), "tmpfs", 0, options.c_str()) != 0) return nullptr;
  small->mounted_ = true;
  return small;
}

bool SmallTmpfs::make_read_only() const {
  return ::mount("", path().c_str(), "", MS_REMOUNT | MS_RDONLY, "") == 0;
}

SmallTmpfs::~SmallTmpfs() {
  if (mounted_) ::umount2(path().c_str(), MNT_DETACH);
}

}  // namespace vmferry::testing
