#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/result.h"
#include "transfer/disk_sink.h"
#include "transfer/write_fence.h"

namespace vmferry {

struct SinkOptions {
  std::string path;       // regular file (created), block device, directory (disk.img within)
  std::string name = {};  // of the target in texts; empty: its path
  std::uint64_t size_bytes = 0;
  bool resume = false;           // keep what is there; nothing is known to be zero
  bool preallocate = false;      // thick file
  bool direct_io = true;         // falls back to buffered where refused
  std::uint64_t data_bytes = 0;  // of size_bytes, known to be written: checked against free space
  // Asked before every change of the target; outlives the sink. Null: no lease to keep.
  const WriteFence* fence = nullptr;
};

// Opens and locks the target: a second opener gets Unavailable with VMF-DST-BUSY. Checks free space
// or device size first (VMF-DST-TOO-SMALL, VMF-DST-FULL). Without `resume` old content of a file is
// dropped; a device's is overwritten or zeroed by the copy. Symlinks are refused (VMF-DST-UNSAFE),
// but for "/proc/self/fd/N" of a directory or device that the caller opened and proved itself.
// With `resume`: NotFound when the file is absent, DataLoss when it has another size.
Result<std::unique_ptr<DiskSink>> open_sink(const SinkOptions& options);

// Discards everything: for measuring the source. Its read_back is Unimplemented.
std::unique_ptr<DiskSink> make_null_sink(std::uint64_t size_bytes);

}  // namespace vmferry
