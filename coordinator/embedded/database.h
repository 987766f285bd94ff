#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "common/guarded.h"
#include "coordinator/embedded/sqlite.h"

namespace vmferry::embedded {

// The file with its tables, one connection that writes and one that reads (a reader does not wait
// for a writer's fsync). Thread-safe.
//
//   objects  api ns name uid version json     api is "plural.group"; version the last write's seq
//   owners   owner_uid uid                    who is named as owner by whom; for the collector
//   events   seq api type ns json labels_before
//            one row a write; seq is the resourceVersion; labels_before: of the state before it
class Database {
 public:
  // Makes the file, readable by its owner only (it holds secrets), unless it exists.
  static Result<std::shared_ptr<Database>> open(const std::string& path);

  Guarded<Connection>& writer() { return writer_; }
  Guarded<Connection>& reader() { return reader_; }

  // After a commit of this process: wakes its watches.
  void notify();
  // Counts notify(); read it before looking for news, so that none between is missed.
  std::uint64_t notifications() const;
  // Returns after a notify() later than `seen`, after `time`, or when stopped.
  void wait(std::uint64_t seen, std::chrono::milliseconds time, std::stop_token stop);

 private:
  Database(Connection writer, Connection reader)
      : writer_(std::move(writer)), reader_(std::move(reader)) {}

  Guarded<Connection> writer_, reader_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t notifications_ = 0;
};

// The highest seq so far; the resourceVersion of a list.
Result<std::int64_t> current_version(Connection& connection);

}  // namespace vmferry::embedded
