#include "transfer/sinks/block_device_sink.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <semaphore>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "transfer/sinks/direct_file.h"
#include "transfer/sinks/target_error.h"
#include "transfer/sinks/zero_ladder.h"

namespace vmferry {
namespace {

// Large concurrent zero commands have caused iSCSI timeouts; BLKZEROOUT ignores signals.
constexpr std::uint64_t kZeroBytes = 128u << 20;
constexpr int kZeroesInFlight = 2;

int fallocate_mode(int fd, int mode, ByteRange range) {
  return ::fallocate(fd, mode, static_cast<off_t>(range.offset),
                     static_cast<off_t>(range.length)) == 0
             ? 0
             : errno;
}

std::vector<ZeroLadder::Step> zero_steps(int fd) {
  return {
      // Write-zeroes with unmap; fails instead of falling back to slow writing.
      {"punch hole", kZeroBytes,
       [fd](ByteRange range) {
         return fallocate_mode(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range);
       }},
      {"zero range", kZeroBytes,
       [fd](ByteRange range) {
         return fallocate_mode(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, range);
       }},
      {"BLKZEROOUT", kZeroBytes,
       [fd](ByteRange range) {
         std::uint64_t bounds[2] = {range.offset, range.length};
         return ::ioctl(fd, BLKZEROOUT, bounds) == 0 ? 0 : errno;
       }},
  };
}

// What sysfs knows to stay with the device from node to node.
std::vector<std::pair<std::string, std::string>> device_names(dev_t device) {
  std::vector<std::pair<std::string, std::string>> names;
  const std::string base = fmt::format("/sys/dev/block/{}:{}/", major(device), minor(device));
  for (const auto& [key, file] :
       {std::pair{"wwid", "device/wwid"}, std::pair{"wwid", "wwid"}, std::pair{"serial", "serial"},
        std::pair{"serial", "device/serial"}, std::pair{"dm_uuid", "dm/uuid"},
        std::pair{"partition", "partition"}, std::pair{"loop_file", "loop/backing_file"}}) {
    Result<std::string> text = read_file(base + file, 4096);
    if (!text) continue;  // absent is normal: each kind of device has its own
    while (!text->empty() && static_cast<unsigned char>(text->back()) <= ' ') text->pop_back();
    if (!text->empty()) names.emplace_back(key, *std::move(text));
  }
  return names;
}

class BlockDeviceSink final : public DiskSink {
 public:
  BlockDeviceSink(UniqueFd buffered, UniqueFd direct, std::uint64_t size_bytes,
                  std::uint64_t device_bytes, std::uint64_t sector, dev_t device, std::string name,
                  const WriteFence* fence)
      : file_(std::move(buffered), std::move(direct), size_bytes, sector, std::move(name), fence),
        device_bytes_(device_bytes),
        device_(device),
        ladder_(
            zero_steps(file_.fd()),
            [this](ByteRange range) { return file_.write_zeros(range.offset, range.length); },
            [this](int failed, std::string_view step, ByteRange range) {
              return target_error(failed, file_.fd(), file_.name(),
                                  fmt::format("{} at offset {}", step, range.offset),
                                  file_.size_bytes());
            },
            fence) {}

  std::uint64_t size_bytes() const override { return file_.size_bytes(); }
  std::uint64_t alignment() const override { return DirectFile::kAlignment; }
  bool initially_zero() const override { return false; }

  std::vector<std::pair<std::string, std::string>> identity() const override {
    std::vector<std::pair<std::string, std::string>> pairs{
        {"kind", "block"}, {"device_bytes", std::to_string(device_bytes_)}};
    for (auto& name : device_names(device_)) pairs.push_back(std::move(name));
    return pairs;
  }

  Result<void> write(std::uint64_t offset, std::span<const std::byte> from) override {
    return file_.write(offset, from);
  }

  Result<void> zero(ByteRange range, std::stop_token stop) override {
    if (range.end() > size_bytes()) {
      return make_error(ErrorKind::InvalidArgument, "'{}': zero {}+{} is beyond its end",
                        file_.name(), range.offset, range.length);
    }
    // The device zeroes whole pages; odd ends are written (and padded at the disk's end).
    const std::uint64_t begin = round_up(range.offset, DirectFile::kAlignment);
    const std::uint64_t end = range.end() / DirectFile::kAlignment * DirectFile::kAlignment;
    if (begin >= end) return file_.write_zeros(range.offset, range.length);
    TRY(file_.write_zeros(range.offset, begin - range.offset));
    TRY(zero_pages({begin, end - begin}, stop));
    return file_.write_zeros(end, range.end() - end);
  }

  Result<void> flush() override { return file_.flush(); }
  Result<void> read_back(std::uint64_t offset, std::span<std::byte> into) override {
    return file_.read_back(offset, into);
  }
  Result<std::vector<ByteRange>> known_zero_ranges(ByteRange /*range*/) override {
    return std::vector<ByteRange>{};  // a device cannot tell: everything is read back
  }
  Result<void> finish() override { return file_.flush(); }

 private:
  Result<void> zero_pages(ByteRange range, const std::stop_token& stop) {
    while (!range.empty()) {
      const ByteRange part{range.offset, std::min(range.length, kZeroBytes)};
      while (!zeroing_.try_acquire_for(std::chrono::milliseconds(100))) {
        if (stop.stop_requested()) return Error(ErrorKind::Canceled, "zeroing stopped");
      }
      Result<void> zeroed = ladder_.zero(part, stop);
      zeroing_.release();
      TRY(std::move(zeroed));
      range.offset += part.length;
      range.length -= part.length;
    }
    return {};
  }

  DirectFile file_;
  std::uint64_t device_bytes_;
  dev_t device_;
  ZeroLadder ladder_;
  std::counting_semaphore<kZeroesInFlight> zeroing_{kZeroesInFlight};
};

}  // namespace

Result<std::unique_ptr<DiskSink>> open_block_device_sink(const SinkOptions& options,
                                                         const UniqueFd& device,
                                                         const std::string& shown) {
  const std::string self = fmt::format("/proc/self/fd/{}", device.get());
  // Never O_CREAT. O_EXCL claims the device: refused while it is mounted or claimed by another.
  UniqueFd fd(::open(self.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
  if (!fd && errno == EBUSY) {
    return coded_error(ErrorKind::Unavailable, code::kTargetBusy,
                       "'{}' is mounted or in use by another process", shown);
  }
  if (!fd && (errno == EACCES || errno == EPERM)) {
    // Rights on a node are changed by people: worth another try.
    return coded_error(ErrorKind::Unavailable, code::kTargetDenied, "cannot open device '{}': {}",
                       shown, errno_error(errno, "").message());
  }
  if (!fd) return errno_error(errno, fmt::format("cannot open device '{}'", shown));

  struct stat file {};
  std::uint64_t device_bytes = 0;
  int sector = 0;
  int read_only = 0;
  if (::fstat(fd.get(), &file) != 0 || ::ioctl(fd.get(), BLKGETSIZE64, &device_bytes) != 0 ||
      ::ioctl(fd.get(), BLKSSZGET, &sector) != 0 || ::ioctl(fd.get(), BLKROGET, &read_only) != 0) {
    return errno_error(errno, fmt::format("cannot ask device '{}' for its size", shown));
  }
  if (read_only != 0) {
    return make_error(ErrorKind::PermissionDenied, "device '{}' is read-only", shown);
  }
  if (device_bytes < options.size_bytes) {
    return coded_error(ErrorKind::ResourceExhausted, code::kTargetTooSmall,
                       "device '{}' has {} bytes, the disk needs {}", shown, device_bytes,
                       options.size_bytes);
  }
  UniqueFd direct;
  if (options.direct_io) {
    direct = UniqueFd(::open(self.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  }
  return std::unique_ptr<DiskSink>(std::make_unique<BlockDeviceSink>(
      std::move(fd), std::move(direct), options.size_bytes, device_bytes,
      static_cast<std::uint64_t>(std::max(sector, 512)), file.st_rdev, shown, options.fence));
}

}  // namespace vmferry
