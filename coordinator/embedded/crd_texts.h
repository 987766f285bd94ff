#pragma once

#include <string_view>

namespace vmferry::embedded {

// The files of deploy/daemonset/crds, built in by cmake/embed_text.cmake.
extern const std::string_view kImportCrd;
extern const std::string_view kMappingCrd;

}  // namespace vmferry::embedded
