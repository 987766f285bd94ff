#include "transfer/sources/vmdk_stream_decoder.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/catalogue.h"

namespace vmferry {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kMagic = 0x564d444b;
constexpr std::uint32_t kCompressed = 1u << 16;
constexpr std::uint32_t kMarkers = 1u << 17;
constexpr std::uint64_t kMaxCapacitySectors = std::uint64_t{1} << 53;
constexpr std::uint64_t kMaxOverheadSectors = std::uint64_t{1} << 21;  // 1 GiB of metadata
constexpr std::uint64_t kGrainsPerTable = 512;
constexpr std::uint64_t kTableSectors = 4;
constexpr std::uint64_t kTablesPerDirectorySector = 128;
constexpr std::uint64_t kSpareSectors = 4096;  // footer, padding
constexpr std::size_t kGrainHeader = 12;
enum : std::uint32_t { kEndOfStream = 0, kGrainTable = 1, kGrainDirectory = 2, kFooter = 3 };

std::uint64_t little_endian(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i > 0; --i) {
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + i - 1]);
  }
  return value;
}

Error malformed(std::string text) {
  return Error(ErrorKind::DataLoss, code::kSourceProtocol, "VMDK stream: " + std::move(text));
}

// With markers, and all of it twice: some writers keep a second copy.
std::uint64_t most_metadata_sectors(const VmdkStreamHeader& header) {
  const std::uint64_t tables = header.capacity_bytes / (header.grain_bytes * kGrainsPerTable) + 1;
  return 2 * (tables * (1 + kTableSectors) + tables / kTablesPerDirectorySector) + kSpareSectors;
}

}  // namespace

Result<VmdkStreamHeader> parse_vmdk_stream_header(std::span<const std::byte, 512> sector) {
  const auto u32 = [&](std::size_t at) {
    return static_cast<std::uint32_t>(little_endian(sector, at, 4));
  };
  const auto u64 = [&](std::size_t at) { return little_endian(sector, at, 8); };
  if (u32(0) != kMagic) return malformed("wrong magic number");
  if (u32(4) < 1 || u32(4) > 3) {
    return coded_error(ErrorKind::Unimplemented, code::kDiskUnsupported, "VMDK stream: version {}",
                       u32(4));
  }
  constexpr std::array<unsigned char, 4> kLineEnds{0x0a, 0x20, 0x0d, 0x0a};
  if (std::memcmp(sector.data() + 73, kLineEnds.data(), kLineEnds.size()) != 0) {
    return malformed("line ends were converted on the way, the content is damaged");
  }
  if ((u32(8) & kCompressed) == 0 || (u32(8) & kMarkers) == 0 ||
      little_endian(sector, 77, 2) != 1) {
    return coded_error(ErrorKind::Unimplemented, code::kDiskUnsupported,
                       "the VMDK is not streamOptimized with deflate");
  }
  const std::uint64_t capacity = u64(12);
  const std::uint64_t grain = u64(20);
  const std::uint64_t overhead = u64(64);
  if (capacity == 0 || capacity > kMaxCapacitySectors) return malformed("bad capacity");
  if (grain < 8 || grain > 2048 || !std::has_single_bit(grain)) return malformed("bad grain size");
  if (overhead < 1 || overhead > kMaxOverheadSectors) return malformed("bad overhead");
  return VmdkStreamHeader{capacity * kSector, grain * kSector, overhead * kSector};
}

Result<void> VmdkStreamDecoder::feed(std::span<const std::byte> bytes, const OnGrain& on_grain) {
  while (!bytes.empty() && state_ != State::Done) {
    if (state_ == State::Skip) {
      const auto passed = std::min<std::uint64_t>(skip_, bytes.size());
      skip_ -= passed;
      bytes = bytes.subspan(static_cast<std::size_t>(passed));
      if (skip_ == 0) state_ = State::Marker;
    } else if (state_ == State::Payload) {
      const std::size_t taken = std::min(payload_left_, bytes.size());
      const auto piece = bytes.first(taken);
      grain_.compressed.insert(grain_.compressed.end(), piece.begin(), piece.end());
      payload_left_ -= taken;
      bytes = bytes.subspan(taken);
      if (payload_left_ == 0) TRY(end_payload(on_grain));
    } else {
      const std::size_t taken = std::min(sector_.size() - sector_fill_, bytes.size());
      std::memcpy(sector_.data() + sector_fill_, bytes.data(), taken);
      sector_fill_ += taken;
      bytes = bytes.subspan(taken);
      if (sector_fill_ == sector_.size()) {
        sector_fill_ = 0;
        TRY(take_sector(on_grain));
      }
    }
  }
  return {};  // after the end marker there may be padding, which nobody needs
}

Result<void> VmdkStreamDecoder::finish() const {
  if (state_ == State::Done) return {};
  return malformed("it ended before its end marker");
}

Result<void> VmdkStreamDecoder::take_sector(const OnGrain& on_grain) {
  if (state_ == State::Marker) return take_marker(on_grain);
  header_ = TRY(parse_vmdk_stream_header(sector_));
  skip_ = header_.overhead_bytes - kSector;
  state_ = skip_ == 0 ? State::Marker : State::Skip;
  return {};
}

Result<void> VmdkStreamDecoder::take_marker(const OnGrain& on_grain) {
  const std::uint64_t value = little_endian(sector_, 0, 8);
  const auto size = static_cast<std::size_t>(little_endian(sector_, 8, 4));
  if (size == 0) {
    return take_metadata(static_cast<std::uint32_t>(little_endian(sector_, 12, 4)), value);
  }
  if (value >= header_.capacity_bytes / kSector || value % (header_.grain_bytes / kSector) != 0) {
    return malformed(fmt::format("a grain at sector {}", value));
  }
  if (size > 2 * header_.grain_bytes + 64)
    return malformed(fmt::format("a grain of {} bytes", size));
  grain_.offset = value * kSector;
  grain_.compressed.clear();
  grain_.compressed.reserve(size);
  const std::size_t here = std::min(size, sector_.size() - kGrainHeader);
  const auto piece = std::span(sector_).subspan(kGrainHeader, here);
  grain_.compressed.assign(piece.begin(), piece.end());
  payload_left_ = size - here;
  padding_ = payload_left_ == 0 ? 0 : (kSector - payload_left_ % kSector) % kSector;
  if (payload_left_ == 0) return end_payload(on_grain);
  state_ = State::Payload;
  return {};
}

Result<void> VmdkStreamDecoder::end_payload(const OnGrain& on_grain) {
  if (!on_grain(std::move(grain_))) return make_error(ErrorKind::Aborted, "VMDK stream: stopped");
  grain_ = {};
  skip_ = padding_;
  state_ = skip_ == 0 ? State::Marker : State::Skip;
  return {};
}

Result<void> VmdkStreamDecoder::take_metadata(std::uint32_t type, std::uint64_t sectors) {
  switch (type) {
    case kEndOfStream:
      state_ = State::Done;
      return {};
    case kGrainTable:
    case kGrainDirectory:
    case kFooter:
      TRY(count_metadata(sectors));
      skip_ = sectors * kSector;
      state_ = skip_ == 0 ? State::Marker : State::Skip;
      return {};
    default:
      return malformed(fmt::format("a marker of type {}", type));
  }
}

// Also the markers: a stream of nothing else has to end as well.
Result<void> VmdkStreamDecoder::count_metadata(std::uint64_t sectors) {
  const std::uint64_t left = most_metadata_sectors(header_) - metadata_sectors_;
  if (sectors >= left) return malformed("more metadata than a disk of that size can have");
  metadata_sectors_ += sectors + 1;
  return {};
}

struct GrainInflater::State {
  z_stream stream{};
  bool ready = false;
};

GrainInflater::GrainInflater() : state_(std::make_unique<State>()) {
  state_->ready = inflateInit(&state_->stream) == Z_OK;
}

GrainInflater::~GrainInflater() {
  if (state_->ready) inflateEnd(&state_->stream);
}

Result<void> GrainInflater::inflate(std::span<const std::byte> compressed,
                                    std::uint64_t grain_bytes, std::span<std::byte> into) {
  z_stream& stream = state_->stream;
  if (!state_->ready || inflateReset(&stream) != Z_OK) {
    return make_error(ErrorKind::Internal, "cannot start zlib");
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(into.data());
  stream.avail_out = static_cast<uInt>(into.size());
  int status = ::inflate(&stream, Z_FINISH);
  // Beyond the capacity, up to the end of the grain: inflated for the checksum's sake and dropped.
  std::uint64_t spare = grain_bytes - std::min<std::uint64_t>(grain_bytes, into.size());
  std::array<Bytef, 4096> dropped{};
  while (status == Z_BUF_ERROR && stream.avail_out == 0 && spare > 0) {
    const auto step = static_cast<uInt>(std::min<std::uint64_t>(spare, dropped.size()));
    stream.next_out = dropped.data();
    stream.avail_out = step;
    status = ::inflate(&stream, Z_FINISH);
    spare -= step;
  }
  if (status == Z_BUF_ERROR && stream.avail_out == 0) {
    // Full to the last byte: only the checksum may be left.
    Bytef probe = 0;
    stream.next_out = &probe;
    stream.avail_out = 1;
    status = ::inflate(&stream, Z_FINISH);
    if (stream.avail_out == 0) return malformed("a grain is longer than its size");
  }
  if (status != Z_STREAM_END) return malformed("a grain is corrupt");
  if (stream.total_out < into.size()) return malformed("a grain is shorter than its size");
  return {};
}

}  // namespace vmferry
