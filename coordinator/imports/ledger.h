#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "coordinator/kube/object.h"
#include "coordinator/provider/provider.h"

namespace vmferry::imports {

// Ordered names and values, as DiskEndpoint::identity.
using SourceIdentityText = std::vector<std::pair<std::string, std::string>>;

// The side effects of one import that must be undone exactly once, written down before each is
// made. Kept in an annotation of the import.
struct Ledger {
  // uid of the import that wrote it. Whoever makes an import anew from what the API server showed
  // of another one copies its annotations too.
  std::string written_by;
  // Source disk id -> handle of its opening on the source; an empty handle: intended, and perhaps
  // made just before a crash.
  std::map<std::string, std::string> openings;
  // Source disk id -> how it is read, from its first opening on: VMware's ways know a disk by
  // different signs, so that a copy begun in one way cannot go on in another.
  std::map<std::string, WayChoice> ways;
  // Claim -> uid of its object when it was made. What was copied went there and nowhere else.
  std::map<std::string, std::string> claims;
  // Source disk id -> what identified the content whose copying was begun.
  std::map<std::string, SourceIdentityText> identities;
  std::string opened_at;  // the engine (source_key()), which lends a disk to one import only
  std::string source_id;  // of the VM that was asked to; undone without the plan too
  std::string stop_requested_at;  // RFC 3339; the source was asked to shut down
  std::string power_cut_at;       // RFC 3339; its power was cut, because it did not
  // A terminal failure that is being cleaned up; becomes Succeeded=False when that is done.
  std::string failure_reason, failure_message;

  bool empty() const { return *this == Ledger{}; }
  friend bool operator==(const Ledger&, const Ledger&) = default;
};

// From the import's annotation; absent is empty. DataLoss when somebody damaged it.
Result<Ledger> ledger_of(const kube::Object& import);
std::string to_text(const Ledger& ledger);

}  // namespace vmferry::imports
