#include "common/endpoint.h"

#include <array>

namespace vmferry {
namespace {

constexpr std::array<std::pair<SourceKind, std::string_view>, 6> kNames{{
    {SourceKind::HttpRange, "http-range"},
    {SourceKind::Imageio, "imageio"},
    {SourceKind::Nbd, "nbd"},
    {SourceKind::NbdkitVddk, "nbdkit-vddk"},
    {SourceKind::File, "file"},
    {SourceKind::VmdkStream, "vmdk-stream"},
}};

}  // namespace

std::string_view to_string(SourceKind kind) {
  for (const auto& [candidate, name] : kNames) {
    if (candidate == kind) return name;
  }
  return "unknown";
}

Result<SourceKind> source_kind_from_string(std::string_view text) {
  for (const auto& [kind, name] : kNames) {
    if (name == text) return kind;
  }
  return make_error(ErrorKind::InvalidArgument, "unknown kind of source '{}'", text);
}

bool is_over_the_network(const DiskEndpoint& endpoint) {
  if (endpoint.kind == SourceKind::File) return false;
  if (endpoint.kind != SourceKind::Nbd) return true;
  const bool tcp = endpoint.url.starts_with("nbd://") || endpoint.url.starts_with("nbds://");
  return tcp && endpoint.url.find('?') == std::string::npos;
}

}  // namespace vmferry
