#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "common/result.h"

namespace vmferry {

// The fixed header of a streamOptimized VMDK (source-vmware.md 7.2).
struct VmdkStreamHeader {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t grain_bytes = 0;     // a power of two, 4 KiB to 1 MiB
  std::uint64_t overhead_bytes = 0;  // where the first marker is
};

// DataLoss: not such a header, mangled line ends, values out of bounds. Unimplemented: another
// version or compression.
Result<VmdkStreamHeader> parse_vmdk_stream_header(std::span<const std::byte, 512> sector);

// One compressed grain as it came.
struct VmdkGrain {
  std::uint64_t offset = 0;  // bytes of guest data; a multiple of the grain size, below capacity
  std::vector<std::byte> compressed;
};

// Cuts a streamOptimized VMDK into grains. Takes the stream in pieces of any size; holds at most
// one compressed grain, and believes in no more metadata than a disk of that size can have. Pure:
// no I/O, no inflating.
class VmdkStreamDecoder {
 public:
  // Called for each grain, in the stream's order; false stops feed() with Aborted.
  using OnGrain = std::function<bool(VmdkGrain)>;

  // Errors: DataLoss (malformed, no partial result may be used), Unimplemented, Aborted.
  Result<void> feed(std::span<const std::byte> bytes, const OnGrain& on_grain);
  // The stream ended. DataLoss unless the end-of-stream marker was seen.
  Result<void> finish() const;

  bool has_header() const { return state_ != State::Header; }
  bool ended() const { return state_ == State::Done; }
  const VmdkStreamHeader& header() const { return header_; }

 private:
  enum class State { Header, Skip, Marker, Payload, Done };

  Result<void> take_sector(const OnGrain& on_grain);
  Result<void> take_marker(const OnGrain& on_grain);
  Result<void> take_metadata(std::uint32_t type, std::uint64_t sectors);
  Result<void> count_metadata(std::uint64_t sectors);
  Result<void> end_payload(const OnGrain& on_grain);

  State state_ = State::Header;
  VmdkStreamHeader header_;
  std::array<std::byte, 512> sector_{};
  std::size_t sector_fill_ = 0;
  std::uint64_t skip_ = 0;  // bytes to pass over, in State::Skip
  std::uint64_t metadata_sectors_ = 0;
  VmdkGrain grain_;
  std::size_t payload_left_ = 0;
  std::size_t padding_ = 0;  // after the payload
};

// Inflates `grain` into `into`, which is the grain's size or, for the last one, what is left of the
// disk. Reuses its zlib stream; not thread-safe.
class GrainInflater {
 public:
  GrainInflater();
  ~GrainInflater();
  GrainInflater(const GrainInflater&) = delete;
  GrainInflater& operator=(const GrainInflater&) = delete;

  // DataLoss: corrupt, checksum wrong, too short, or longer than `grain_bytes`. What exceeds `into`
  // but not the grain lies beyond the capacity and is dropped.
  Result<void> inflate(std::span<const std::byte> compressed, std::uint64_t grain_bytes,
                       std::span<std::byte> into);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vmferry
