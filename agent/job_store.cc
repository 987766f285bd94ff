#include "agent/job_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace vmferry {

namespace fs = std::filesystem;

namespace {

Error file_error(const std::error_code& code, const std::string& what) {
  return errno_error(code.value(), what);
}

}  // namespace

Result<JobStore> JobStore::open(const std::string& state_directory) {
  AgentPaths paths{state_directory};
  TRY(make_directories(paths.state, 0700));
  UniqueFd lock(::open(paths.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return errno_error(errno, "cannot open '" + paths.lock() + "'");
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, "cannot lock '" + paths.lock() + "'");
    return make_error(ErrorKind::Unavailable,
                      "state directory '{}' is in use by another agent; give each its own --state",
                      state_directory);
  }
  std::error_code code;
  fs::remove_all(paths.scratch(), code);
  if (code) return file_error(code, "cannot empty '" + paths.scratch() + "'");
  TRY(make_directories(paths.scratch(), 0700));
  TRY(make_directories(paths.jobs(), 0700));
  return JobStore(std::move(paths), std::move(lock));
}

Result<std::string> JobStore::prepare(const JobId& job) const {
  TRY(make_directories(paths_.job(job), 0700));
  return paths_.journal(job);
}

Result<void> JobStore::remove(const JobId& job) const {
  std::error_code code;
  fs::remove_all(paths_.job(job), code);
  if (code) return file_error(code, "cannot remove '" + paths_.job(job) + "'");
  return {};
}

Result<int> JobStore::prune(std::chrono::hours older_than) const {
  std::error_code code;
  int removed = 0;
  const auto oldest = fs::file_time_type::clock::now() - older_than;
  for (fs::directory_iterator it(paths_.jobs(), code), end; !code && it != end;
       it.increment(code)) {
    std::error_code entry_code;
    const fs::path journal = it->path() / "journal";
    const fs::path dated = fs::exists(journal, entry_code) ? journal : it->path();
    const fs::file_time_type written = fs::last_write_time(dated, entry_code);
    if (entry_code || written > oldest) continue;
    fs::remove_all(it->path(), entry_code);
    if (entry_code) return file_error(entry_code, "cannot remove '" + it->path().string() + "'");
    ++removed;
  }
  if (code) return file_error(code, "cannot list '" + paths_.jobs() + "'");
  return removed;
}

}  // namespace vmferry
