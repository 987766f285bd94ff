#include "coordinator/embedded/database.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "common/fd.h"

namespace vmferry::embedded {
namespace {

constexpr std::int64_t kSchemaVersion = 1;

// AUTOINCREMENT: a trimmed seq is never given again. Counting starts at 1, so that "0" can mean
// "from any state", as in the API.
constexpr const char* kCreate = R"sql(
  CREATE TABLE objects(
    api TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY(api, ns, name));
  CREATE TABLE owners(
    owner_uid TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY(owner_uid, uid)) WITHOUT ROWID;
  CREATE INDEX owners_by_uid ON owners(uid);
  CREATE TABLE events(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, api TEXT NOT NULL, type INTEGER NOT NULL,
    ns TEXT NOT NULL, json TEXT NOT NULL, labels_before TEXT);
  INSERT INTO sqlite_sequence(name, seq) VALUES('events', 1);
  PRAGMA user_version = 1;
)sql";

// SQLite gives its -wal and -shm files the mode of the main file.
Result<void> ensure_private_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return errno_error(errno, "cannot open object store '" + path + "'");
  struct stat state {};
  if (fstat(fd.get(), &state) != 0) return errno_error(errno, "cannot examine '" + path + "'");
  if (!S_ISREG(state.st_mode)) {
    return make_error(ErrorKind::InvalidArgument, "object store '{}' is not a file", path);
  }
  if ((state.st_mode & 0077) != 0 && fchmod(fd.get(), 0600) != 0) {
    return errno_error(errno, "cannot make '" + path + "' private");
  }
  return {};
}

Result<void> ensure_tables(Connection& connection) {
  // Under the write lock: two processes may start at once.
  Transaction transaction = TRY(Transaction::begin(connection));
  std::int64_t version = 0;
  {
    Statement query = TRY(connection.prepare("PRAGMA user_version"));
    if (TRY(query.step())) version = query.number(0);
  }
  if (version == kSchemaVersion) return {};
  if (version != 0) {
    return make_error(ErrorKind::InvalidArgument,
                      "the object store has format {}, this program knows {}: use the program that "
                      "wrote it",
                      version, kSchemaVersion);
  }
  TRY(connection.execute(kCreate));
  return transaction.commit();
}

}  // namespace

Result<std::shared_ptr<Database>> Database::open(const std::string& path) {
  TRY(ensure_private_file(path));
  std::unique_ptr<Connection> writer = TRY(Connection::open(path));
  // FULL: a commit is on the disk before it is answered.
  TRY(writer->execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"));
  TRY(ensure_tables(*writer));
  std::unique_ptr<Connection> reader = TRY(Connection::open(path));
  TRY(reader->execute("PRAGMA query_only=ON;"));
  return std::shared_ptr<Database>(new Database(std::move(*writer), std::move(*reader)));
}

void Database::notify() {
  {
    const std::lock_guard lock(mutex_);
    ++notifications_;
  }
  changed_.notify_all();
}

std::uint64_t Database::notifications() const {
  const std::lock_guard lock(mutex_);
  return notifications_;
}

void Database::wait(std::uint64_t seen, std::chrono::milliseconds time, std::stop_token stop) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, stop, time, [&] { return notifications_ > seen; });
}

Result<std::int64_t> current_version(Connection& connection) {
  Statement query = TRY(connection.prepare("SELECT seq FROM sqlite_sequence WHERE name='events'"));
  if (!TRY(query.step())) {
    return Error(ErrorKind::DataLoss, "the object store has lost its counter");
  }
  return query.number(0);
}

}  // namespace vmferry::embedded
