// Outside bytes as encoded chunks and as a journal file: no crash, no hang, and what is believed
// can be written again.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/check.h"
#include "common/fd.h"
#include "transfer/journal.h"
#include "transfer/journal_file.h"
#include "transfer/resume.h"

namespace vmferry {
namespace {

void chunks(std::string_view bytes) {
  const Result<std::vector<DurableChunk>> decoded = decode_chunks(bytes, 10'000);
  if (!decoded) return;
  const Result<std::vector<DurableChunk>> again = decode_chunks(encode_chunks(*decoded), 10'000);
  VMFERRY_CHECK(again.ok() && *again == *decoded);
}

std::vector<DurableChunk> durable_of(const JournalFile& file) {
  std::vector<DurableChunk> chunks;
  const Result<void> read =
      file.for_each_durable([&](std::uint64_t index, std::span<const std::byte> digest) {
        chunks.push_back({index, {digest.begin(), digest.end()}});
        return Result<void>();
      });
  VMFERRY_CHECK(read.ok());
  return chunks;
}

void journal_file(std::string_view bytes) {
  static const std::string path = fmt::format("/var/tmp/vmferry-journal-fuzz-{}", ::getpid());
  {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    VMFERRY_CHECK(write_fully(fd.get(), 0, std::as_bytes(std::span(bytes))).ok());
  }
  Result<std::unique_ptr<JournalFile>> file = JournalFile::open(path);
  VMFERRY_CHECK(file.ok());
  if ((*file)->content() == JournalFile::Content::Valid) {
    const std::vector<DurableChunk> durable = durable_of(**file);
    VMFERRY_CHECK((*file)->record(durable).ok());
    VMFERRY_CHECK(durable_of(**file) == durable);
  }
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace vmferry

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  vmferry::chunks(bytes);
  vmferry::journal_file(bytes);
  (void)vmferry::identity_from_text(bytes);
  return 0;
}
