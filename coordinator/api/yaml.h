#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/result.h"

namespace vmferry::api {

struct YamlDocument {
  nlohmann::json value;
  int line = 1;  // of its first node, from 1
};

// YAML (and so JSON) text as JSON values. Plain scalars are typed as kubectl types them (YAML 1.1:
// yes, off, 0x1f, 017; no timestamps), quoted ones and map keys are strings; anchors, aliases and
// merge keys (<<) work. Bounds: 16 MiB of text, 64 levels, 200 000 nodes with aliases expanded.
// Errors: InvalidArgument with VMF-REQ-MANIFEST, beginning "<name>:<line>:<column>: ".
Result<std::vector<YamlDocument>> parse_yaml(std::string_view text, const std::string& name);

// What a plain scalar means: null, a boolean, a number or a string.
nlohmann::json plain_scalar(const std::string& text);

}  // namespace vmferry::api
