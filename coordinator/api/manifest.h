#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/kube/object.h"

namespace vmferry::api {

struct ManifestObject {
  kube::Object object;
  std::string origin;              // "file:line"
  std::vector<std::string> notes;  // what was read leniently, one sentence each
};

// Objects of a text with several YAML documents; `kind: List` is unfolded, empty documents are
// skipped. Reads the design's shorthand (api.md DECISION-A2) and says so in notes: capitalised keys
// (`Spec`, `Metadata`, `Target`), `target: NAME`, and `target` or `type` under `source`. A missing
// namespace becomes `default_ns`. Errors: InvalidArgument with VMF-REQ-MANIFEST that begin with
// file and line and say what to do. Does not validate against a schema: the API does.
Result<std::vector<ManifestObject>> parse_manifests(std::string_view text, const std::string& file,
                                                    const std::string& default_ns);

// YAML in kubectl's form: apiVersion, kind, metadata, then the rest by name, status last; lists not
// indented; quotes where a plain scalar would be read as something else. Ends with a line feed.
std::string to_yaml(const kube::Object& object);

}  // namespace vmferry::api
