#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "common/secret.h"
#include "coordinator/imports/ledger.h"
#include "coordinator/kube/reader.h"

namespace vmferry::imports {

class Pass;

// Which import reads which disk of an engine. An oVirt disk is read by one transfer, which whoever
// asks for the disk next would take for its own; so an import does not ask for what another has
// opened. The record is the coordinator's own: in memory, rebuilt at a process's first question
// from the ledgers of imports that are not over, as far as they carry our seal (ledger_seal.h).
// What somebody writes into an annotation locks nothing. Thread-safe.
class DiskLocks {
 public:
  // `key` seals ledgers. `ns`: where imports are looked for; empty: everywhere.
  explicit DiskLocks(SecretString key = {}, std::string ns = {})
      : key_(std::move(key)), ns_(std::move(ns)) {}

  struct Disk {
    std::string source;  // the engine's URL
    std::string id;
    friend auto operator<=>(const Disk&, const Disk&) = default;
  };
  struct Holder {
    kube::ObjectKey import;
    std::string uid;
  };

  // The disk is `asks`'s from now on, or already; else who has it. A holder that is gone or over
  // has it no more.
  Result<std::optional<Holder>> take(const Disk& disk, const Holder& asks, kube::Reader& reader,
                                     std::stop_token stop);
  // An import has these only.
  void keep_only(const std::string& uid, const std::map<std::string, std::string>& openings);

  const SecretString& key() const { return key_; }

 private:
  Result<void> rebuild(kube::Reader& reader, std::stop_token stop);

  const SecretString key_;
  const std::string ns_;
  std::mutex mutex_;
  bool rebuilt_ = false;
  std::map<Disk, Holder> holders_;
};

// The lock on a disk that the import is about to open, or has opened. Unavailable with
// VMF-SRC-DISK-LOCKED when another one has it; it is named if it is of the same namespace. Nothing
// to do for sources that lend a disk to several.
Result<void> lock_disk(Pass& pass, const std::string& disk_id, const std::string& disk_name);

}  // namespace vmferry::imports
