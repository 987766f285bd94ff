#pragma once

#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::kube {

enum class Applied { Created, Configured, Unchanged };
std::string_view to_string(Applied applied);  // "created", "configured", "unchanged"

// Makes the object exist as `wanted` says: creates it, or patches what differs. Status and metadata
// of others stay; a list is replaced. Of imports, mappings, secrets and config maps, fields that
// `wanted` no longer has are removed; of other kinds they stay, since controllers and the server
// fill some in. Errors: those of Reader::get, Writer::create and Writer::patch.
struct ApplyResult {
  Applied applied = Applied::Unchanged;
  Object object;
};
Result<ApplyResult> apply(Reader& reader, Writer& writer, const Object& wanted,
                          std::stop_token stop);

}  // namespace vmferry::kube
