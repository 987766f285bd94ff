#include "tests/transfer/support/fault_filesystem.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vmferry::testing {
namespace {

constexpr std::uint64_t kRoot = FUSE_ROOT_ID;
constexpr std::uint64_t kFile = 2;
constexpr std::uint32_t kMostBytes = 1u << 20;  // of one write
constexpr std::string_view kName = "disk.img";

fuse_attr attributes_of(std::uint64_t node, std::uint64_t size) {
  fuse_attr attributes{};
  attributes.ino = node;
  attributes.size = size;
  attributes.blocks = (size + 511) / 512;
  attributes.mode = node == kRoot ? S_IFDIR | 0755u : S_IFREG | 0660u;
  attributes.nlink = node == kRoot ? 2 : 1;
  attributes.blksize = 4096;
  return attributes;
}

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

struct FaultFilesystem::Request {
  fuse_in_header header{};
  std::span<const std::byte> body;

  template <typename T>
  T as() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
    return value;
  }
  std::string name_at(std::size_t offset) const {
    const char* text = reinterpret_cast<const char*>(body.data()) + offset;
    return std::string(text, ::strnlen(text, body.size() - offset));
  }
};

std::unique_ptr<FaultFilesystem> FaultFilesystem::create(Faults faults) {
  std::unique_ptr<FaultFilesystem> system(new FaultFilesystem(std::move(faults)));
  system->device_ = UniqueFd(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!system->device_) return nullptr;
  const std::string options =
      fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", system->device_.get());
  if (::mount("vmferry-test", system->directory_.path().c_str(), "fuse", MS_NOSUID | MS_NODEV,
              options.c_str()) != 0) {
    return nullptr;
  }
  system->mounted_ = true;
  system->thread_ = std::jthread([raw = system.get()] { raw->serve(); });
  return system;
}

FaultFilesystem::~FaultFilesystem() {
  if (mounted_) ::umount2(directory_.path().c_str(), MNT_DETACH);
}

Bytes FaultFilesystem::content() const {
  const std::lock_guard lock(mutex_);
  return content_;
}

void FaultFilesystem::serve() {
  std::vector<std::byte> buffer(kMostBytes + 65536);
  while (true) {
    const ssize_t count = ::read(device_.get(), buffer.data(), buffer.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
    if (count < static_cast<ssize_t>(sizeof(fuse_in_header))) return;  // unmounted: ENODEV
    Request request;
    std::memcpy(&request.header, buffer.data(), sizeof request.header);
    request.body = std::span<const std::byte>(buffer).subspan(
        sizeof request.header, static_cast<std::size_t>(count) - sizeof request.header);
    answer(request);
  }
}

void FaultFilesystem::reply(const Request& request, int error_number,
                            std::span<const std::byte> body) const {
  fuse_out_header header{};
  header.unique = request.header.unique;
  header.error = -error_number;
  header.len = static_cast<std::uint32_t>(sizeof header + body.size());
  const iovec parts[] = {{&header, sizeof header},
                         {const_cast<std::byte*>(body.data()), body.size()}};
  // An error means that the asker is gone, or the mount.
  if (::writev(device_.get(), parts, body.empty() ? 1 : 2) < 0) return;
}

template <typename T>
void FaultFilesystem::reply_with(const Request& request, const T& body) const {
  reply(request, 0, bytes_of(body));
}

void FaultFilesystem::answer(const Request& request) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t size = content_.size();
  fuse_entry_out entry{};
  entry.nodeid = kFile;
  entry.attr = attributes_of(kFile, size);
  fuse_attr_out attributes{};
  attributes.attr = attributes_of(request.header.nodeid, size);
  switch (request.header.opcode) {
    case FUSE_INIT: {
      fuse_init_out init{};
      init.major = FUSE_KERNEL_VERSION;
      init.minor = 31;
      init.flags = FUSE_BIG_WRITES | FUSE_MAX_PAGES;
      init.max_readahead = 1u << 17;
      init.max_background = 16;
      init.congestion_threshold = 12;
      init.max_write = kMostBytes;
      init.max_pages = kMostBytes / 4096;
      init.time_gran = 1;
      return reply_with(request, init);
    }
    case FUSE_LOOKUP:
      if (!exists_ || request.name_at(0) != kName) return reply(request, ENOENT);
      return reply_with(request, entry);
    case FUSE_CREATE: {
      exists_ = true;
      struct {
        fuse_entry_out entry;
        fuse_open_out open;
      } created{entry, {}};
      return reply_with(request, created);
    }
    case FUSE_GETATTR:
      return reply_with(request, attributes);
    case FUSE_SETATTR:
      return set_attributes(request);
    case FUSE_OPEN:
    case FUSE_OPENDIR:
      return reply_with(request, fuse_open_out{});
    case FUSE_READ:
      return read(request);
    case FUSE_WRITE:
      return write(request);
    case FUSE_FSYNC:
      return reply(request, faults_.on_fsync ? faults_.on_fsync() : 0);
    case FUSE_STATFS: {
      fuse_statfs_out status{};
      status.st = {.blocks = 1u << 20,
                   .bfree = 1u << 20,
                   .bavail = 1u << 20,
                   .files = 10,
                   .ffree = 10,
                   .bsize = 4096,
                   .namelen = 255,
                   .frsize = 4096,
                   .padding = 0,
                   .spare = {}};
      return reply_with(request, status);
    }
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FSYNCDIR:
    case FUSE_DESTROY:
      return reply(request, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      return;  // these have no answer
    default:
      return reply(request, ENOSYS);  // fallocate, lseek, xattr: the kernel says EOPNOTSUPP
  }
}

void FaultFilesystem::set_attributes(const Request& request) {
  const auto in = request.as<fuse_setattr_in>();
  if ((in.valid & FATTR_SIZE) != 0) content_.resize(in.size);
  fuse_attr_out out{};
  out.attr = attributes_of(request.header.nodeid, content_.size());
  reply_with(request, out);
}

void FaultFilesystem::read(const Request& request) {
  const auto in = request.as<fuse_read_in>();
  if (faults_.refuses_direct_io && (in.flags & O_DIRECT) != 0) return reply(request, EINVAL);
  if (const int failed = faults_.on_read ? faults_.on_read(in.offset) : 0; failed != 0) {
    return reply(request, failed);
  }
  const std::uint64_t from = std::min<std::uint64_t>(in.offset, content_.size());
  const std::uint64_t length = std::min<std::uint64_t>(in.size, content_.size() - from);
  reply(request, 0, std::span<const std::byte>(content_).subspan(from, length));
}

void FaultFilesystem::write(const Request& request) {
  const auto in = request.as<fuse_write_in>();
  if (faults_.refuses_direct_io && (in.flags & O_DIRECT) != 0) return reply(request, EINVAL);
  std::uint32_t length = in.size;
  const int failed = faults_.on_write ? faults_.on_write(in.offset, length) : 0;
  if (failed != 0) return reply(request, failed);
  const auto data = request.body.subspan(sizeof in, length);
  if (in.offset + length > content_.size()) content_.resize(in.offset + length);
  if (!faults_.loses_write || !faults_.loses_write(in.offset)) {
    std::ranges::copy(data, content_.begin() + static_cast<std::ptrdiff_t>(in.offset));
  }
  fuse_write_out out{};
  out.size = length;
  reply_with(request, out);
}

}  // namespace vmferry::testing
