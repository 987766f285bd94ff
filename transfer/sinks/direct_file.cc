#include "transfer/sinks/direct_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "transfer/sinks/target_error.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kPage = DirectFile::kAlignment;

alignas(kPage) const std::byte kZeros[1u << 20] = {};

bool is_page_aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % kPage == 0;
}

// [offset, offset + length) cut into an odd head, whole pages and an odd tail.
struct Cut {
  std::uint64_t head = 0;
  std::uint64_t body = 0;
  std::uint64_t tail = 0;
};

Cut cut_at_pages(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t begin = round_up(offset, kPage);
  const std::uint64_t end = (offset + length) / kPage * kPage;
  if (begin >= end) return {length, 0, 0};
  return {begin - offset, end - begin, offset + length - end};
}

}  // namespace

DirectFile::DirectFile(UniqueFd buffered, UniqueFd direct, std::uint64_t size_bytes,
                       std::uint64_t pad_unit, std::string name, const WriteFence* fence)
    : buffered_(std::move(buffered)),
      direct_(std::move(direct)),
      size_bytes_(size_bytes),
      pad_unit_(pad_unit),
      name_(std::move(name)),
      fence_(fence),
      writeback_(buffered_.get()) {}

Error DirectFile::failed(int error_number, std::string_view what, std::uint64_t offset) const {
  return target_error(error_number, buffered_.get(), name_,
                      fmt::format("{} at offset {}", what, offset), size_bytes_);
}

Result<void> DirectFile::check(std::uint64_t offset, std::uint64_t length) const {
  if (offset <= size_bytes_ && length <= size_bytes_ - offset) return {};
  return make_error(ErrorKind::InvalidArgument, "'{}': range {}+{} is beyond its {} bytes", name_,
                    offset, length, size_bytes_);
}

Result<void> DirectFile::write(std::uint64_t offset, std::span<const std::byte> from) {
  TRY(check(offset, from.size()));
  if (from.empty()) return {};
  const std::uint64_t end = offset + from.size();
  const Cut cut = cut_at_pages(offset, from.size());
  if (!is_direct() || cut.body == 0 || !is_page_aligned(from.data() + cut.head)) {
    TRY(write_buffered(offset, from));
  } else {
    if (cut.head != 0) TRY(write_buffered(offset, from.first(cut.head)));
    TRY(write_direct(offset + cut.head, from.subspan(cut.head, cut.body)));
    if (cut.tail != 0) TRY(write_buffered(end - cut.tail, from.last(cut.tail)));
  }
  if (end == size_bytes_ && end % pad_unit_ != 0) {
    TRY(write_buffered(end, std::span(kZeros).first(round_up(end, pad_unit_) - end)));
  }
  return {};
}

Result<void> DirectFile::write_zeros(std::uint64_t offset, std::uint64_t length) {
  while (length != 0) {
    const std::uint64_t step = std::min<std::uint64_t>(length, sizeof kZeros);
    TRY(write(offset, std::span(kZeros).first(step)));
    offset += step;
    length -= step;
  }
  return {};
}

Result<void> DirectFile::write_direct(std::uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    TRY(check_fence(fence_));
    const ssize_t count =
        ::pwrite(direct_.get(), from.data(), from.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EINVAL) {
      direct_refused_ = true;
      return write_buffered(offset, from);
    }
    if (count < 0) return failed(errno, "write", offset);
    if (count == 0) return failed(EIO, "write of nothing", offset);
    from = from.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
    // A short count may leave an odd rest (the device filled up, a signal): the next call tells.
    if (!from.empty() && offset % kPage != 0) return write_buffered(offset, from);
  }
  return {};
}

Result<void> DirectFile::write_buffered(std::uint64_t offset, std::span<const std::byte> from) {
  const ByteRange range{offset, from.size()};
  while (!from.empty()) {
    TRY(check_fence(fence_));
    const ssize_t count =
        ::pwrite(buffered_.get(), from.data(), from.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed(errno, "write", offset);
    if (count == 0) return failed(EIO, "write of nothing", offset);
    from = from.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  // Beside direct I/O these are odd ends, no matter for the page cache.
  if (!is_direct()) writeback_.written(range);
  return {};
}

Result<void> DirectFile::flush() {
  if (const int lost = writeback_.sync(); lost != 0) return failed(lost, "fdatasync", 0);
  return {};
}

Result<void> DirectFile::read_back(std::uint64_t offset, std::span<std::byte> into) {
  TRY(check(offset, into.size()));
  if (into.empty()) return {};
  if (!is_direct()) return read_buffered(offset, into);
  const Cut cut = cut_at_pages(offset, into.size());
  if (cut.body == 0 || !is_page_aligned(into.data() + cut.head)) {
    return read_direct_edge(offset, into);
  }
  if (cut.head != 0) TRY(read_direct_edge(offset, into.first(cut.head)));
  TRY(read_direct(offset + cut.head, into.subspan(cut.head, cut.body)));
  if (cut.tail == 0) return {};
  return read_direct_edge(offset + into.size() - cut.tail, into.last(cut.tail));
}

Result<void> DirectFile::read_direct(std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t count =
        ::pread(direct_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EINVAL) {
      direct_refused_ = true;
      return read_buffered(offset, into);
    }
    if (count < 0) return failed(errno, "read back", offset);
    if (count == 0) return failed(EIO, "read back: end of file", offset);
    into = into.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
    if (!into.empty() && offset % kPage != 0) return read_direct_edge(offset, into);
  }
  return {};
}

// Odd ranges: the pages around them, through a page of our own.
Result<void> DirectFile::read_direct_edge(std::uint64_t offset, std::span<std::byte> into) {
  alignas(kPage) std::byte page[kPage];
  while (!into.empty()) {
    const std::uint64_t begin = offset / kPage * kPage;
    const std::uint64_t within = offset - begin;
    const std::uint64_t wanted = std::min<std::uint64_t>(into.size(), kPage - within);
    const ssize_t count = ::pread(direct_.get(), page, kPage, static_cast<off_t>(begin));
    if (count < 0 && errno == EINTR) continue;
    // A device that ends within the page refuses whole pages there.
    if (count < 0 && errno == EINVAL) return read_buffered(offset, into);
    if (count < 0) return failed(errno, "read back", offset);
    if (static_cast<std::uint64_t>(count) < within + wanted) {
      return failed(EIO, "read back: end of file", offset);
    }
    std::memcpy(into.data(), page + within, wanted);
    into = into.subspan(wanted);
    offset += wanted;
  }
  return {};
}

// Drops the pages first, so that what comes is what the file system stored. They are clean: the
// caller has flushed.
Result<void> DirectFile::read_buffered(std::uint64_t offset, std::span<std::byte> into) {
  const std::uint64_t begin = offset / kPage * kPage;
  const std::uint64_t end = round_up(offset + into.size(), kPage);
  (void)::posix_fadvise(buffered_.get(), static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                        POSIX_FADV_DONTNEED);  // a hint
  Result<void> read = read_fully(buffered_.get(), offset, into);
  if (read) return {};
  return coded_error(ErrorKind::DataLoss, code::kTargetIo, "'{}': read back: {}", name_,
                     read.error().message());
}

}  // namespace vmferry
