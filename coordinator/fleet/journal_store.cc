#include "coordinator/fleet/journal_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "common/fd.h"
#include "common/file_name.h"

namespace vmferry {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kHeader = 8;
constexpr std::uint64_t kMaxJournalBytes = 4ull << 30;

std::uint32_t crc_of(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void put_u32(std::string& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8)
    out.push_back(static_cast<char>(value >> shift & 0xff));
}

std::uint32_t get_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

std::string framed(std::string_view body) {
  std::string record;
  record.reserve(kHeader + body.size());
  put_u32(record, static_cast<std::uint32_t>(body.size()));
  put_u32(record, crc_of(body));
  record.append(body);
  return record;
}

std::string epoch_body(const std::string& epoch, const std::string& identity) {
  std::string body = "E";
  put_u32(body, static_cast<std::uint32_t>(epoch.size()));
  return body + epoch + identity;
}

// The next record's body, and `bytes` behind it; nothing at the end or at a torn record.
std::optional<std::string_view> next_body(std::string_view& bytes) {
  if (bytes.size() < kHeader) return std::nullopt;
  const std::uint32_t length = get_u32(bytes);
  if (bytes.size() - kHeader < length || length == 0) return std::nullopt;
  const std::string_view body = bytes.substr(kHeader, length);
  if (crc_of(body) != get_u32(bytes.substr(4))) return std::nullopt;
  bytes.remove_prefix(kHeader + length);
  return body;
}

bool read_epoch(std::string_view body, JournalStore::Stored& stored) {
  if (body.size() < 5 || body[0] != 'E') return false;
  const std::uint32_t length = get_u32(body.substr(1));
  if (length > body.size() - 5) return false;
  stored.epoch = body.substr(5, length);
  stored.identity = body.substr(5 + length);
  return true;
}

}  // namespace

Result<JournalStore> JournalStore::open(const std::string& state_directory) {
  const std::string jobs = state_directory + "/jobs";
  TRY(make_directories(jobs, 0700));
  const std::string lock_path = state_directory + "/lock";
  UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return errno_error(errno, "cannot open '" + lock_path + "'");
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return make_error(ErrorKind::Unavailable,
                      "state directory '{}' is in use by another coordinator", state_directory);
  }
  return JournalStore(jobs, std::move(lock));
}

std::string JournalStore::directory(const JobId& job) const {
  return jobs_ + "/" + safe_file_name(job.value);
}

Result<std::vector<JobRecord>> JournalStore::load(std::stop_token) {
  std::vector<JobRecord> records;
  std::error_code code;
  for (fs::directory_iterator it(jobs_, code), end; !code && it != end; it.increment(code)) {
    const std::string path = it->path().string() + "/record.json";
    const Result<std::string> text = read_file(path);
    if (!text) {
      // A crash between making the directory and the first save: nothing was assigned yet.
      if (text.error().kind() == ErrorKind::NotFound) continue;
      return text.error();
    }
    Result<JobRecord> record = job_record_from_json(*text);
    if (!record) {
      return std::move(record).error().with_context("'" + path +
                                                    "' (remove it once no agent runs its job)");
    }
    records.push_back(*std::move(record));
  }
  if (code) return errno_error(code.value(), "cannot list '" + jobs_ + "'");
  return records;
}

Result<void> JournalStore::save(const JobRecord& record, std::stop_token) {
  TRY(make_directories(directory(record.job), 0700));
  return write_file_atomically(directory(record.job) + "/record.json", to_json(record), 0600);
}

Result<void> JournalStore::remove(const JobId& job, std::stop_token) {
  std::error_code code;
  fs::remove_all(directory(job), code);
  if (code) return errno_error(code.value(), "cannot remove '" + directory(job) + "'");
  return {};
}

Result<JournalStore::Stored> JournalStore::journal(const JobId& job) const {
  Stored stored;
  Result<std::string> content = read_file(journal_path(job), kMaxJournalBytes);
  if (!content) {
    if (content.error().kind() == ErrorKind::NotFound) return stored;
    return std::move(content).error();
  }
  std::string_view bytes = *content;
  const std::optional<std::string_view> first = next_body(bytes);
  if (!first || !read_epoch(*first, stored)) return Stored{};
  while (const std::optional<std::string_view> body = next_body(bytes)) {
    if (body->front() == 'C') stored.chunks.emplace_back(body->substr(1));
  }
  if (!bytes.empty()) {
    // A torn tail: what is appended behind it would never be read.
    const auto whole = static_cast<off_t>(content->size() - bytes.size());
    if (::truncate(journal_path(job).c_str(), whole) != 0) {
      return errno_error(errno, "cannot cut off '" + journal_path(job) + "'");
    }
  }
  return stored;
}

Result<bool> JournalStore::append(const protocol::JournalUpdate& update) const {
  TRY(make_directories(directory(update.job), 0700));
  const std::string path = journal_path(update.job);
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file && errno != ENOENT) return errno_error(errno, "cannot open '" + path + "'");
  const std::string chunks = update.chunks.empty() ? "" : framed("C" + update.chunks);
  const std::string start = framed(epoch_body(update.epoch, update.identity));
  std::uint64_t end = 0;
  if (file) {
    // The same epoch and identity stand at the start byte for byte, or the journal is another's.
    std::string found(start.size(), '\0');
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return errno_error(errno, "cannot stat '" + path + "'");
    end = static_cast<std::uint64_t>(status.st_size);
    const bool same = end >= start.size() &&
                      read_fully(file.get(), 0, std::as_writable_bytes(std::span(found))).ok() &&
                      found == start;
    if (!same) file.reset();
  }
  if (!file) {
    TRY(write_file_atomically(path, start + chunks, 0600));
    return true;
  }
  if (chunks.empty()) return false;
  Result<void> written =
      write_fully(file.get(), end, std::as_bytes(std::span(chunks.data(), chunks.size())));
  if (written) return false;
  // Half a record would hide everything appended behind it.
  if (::ftruncate(file.get(), static_cast<off_t>(end)) != 0) {
    return errno_error(errno, "cannot cut off '" + path + "'");
  }
  return std::move(written).error();
}

}  // namespace vmferry
