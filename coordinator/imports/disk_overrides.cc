#include "coordinator/imports/disk_overrides.h"

#include <algorithm>

#include "common/catalogue.h"
#include "coordinator/api/import.h"
#include "coordinator/rules/findings.h"

namespace vmferry::imports {
namespace {

bool is_nbd(const std::string& url) {
  constexpr std::string_view kSchemes[] = {"nbd://", "nbds://", "nbd+unix://", "nbds+unix://"};
  return std::ranges::any_of(kSchemes,
                             [&](std::string_view scheme) { return url.starts_with(scheme); });
}

Error bad(std::string_view why) {
  return coded_error(ErrorKind::InvalidArgument, code::kManifest, "annotation '{}': {}",
                     api::kDiskSources, why);
}

// The way that an item of the annotation names; nothing: it names a server, or is wrong.
std::optional<DiskWay> named_way(const nlohmann::json& item) {
  if (!item.is_string()) return std::nullopt;
  for (const DiskWay way : {DiskWay::Vddk, DiskWay::FlatFile, DiskWay::ExportLease}) {
    if (item == to_string(way)) return way;
  }
  return std::nullopt;
}

}  // namespace

Result<DiskOverride> disk_override(const kube::Object& import, const SourceDisk& disk) {
  const auto text = import.annotation(api::kDiskSources);
  if (!text) return DiskOverride{};
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return bad("is not a JSON object of disk names to sources");
  auto item = json.find(disk.id);
  if (item == json.end()) item = json.find(disk.name);
  if (item == json.end()) item = json.find("*");
  if (item == json.end()) return DiskOverride{};

  if (const auto way = named_way(*item)) return DiskOverride{.endpoint = {}, .way = *way};
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::Nbd;
  if (item->is_string()) {
    endpoint.url = item->get<std::string>();
  } else if (item->is_object() && item->contains("url") && (*item)["url"].is_string()) {
    endpoint.url = (*item)["url"].get<std::string>();
    if (const auto ca = item->find("ca"); ca != item->end() && ca->is_string()) {
      endpoint.trust.ca_pem = TRY(parse_ca_certificates(ca->get<std::string>()));
    }
  }
  if (!is_nbd(endpoint.url)) {
    return bad(
        fmt::format("disk '{}' needs \"vddk\", \"https\", \"export\" or an NBD URI such as "
                    "nbd://host:10809/export",
                    disk.name));
  }
  return DiskOverride{.endpoint = std::move(endpoint), .way = DiskWay::Automatic};
}

DiskWays disk_ways(const kube::Object& import) {
  DiskWays ways;
  const auto text = import.annotation(api::kDiskSources);
  if (!text) return ways;
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return ways;
  for (const auto& [disk, item] : json.items()) {
    ways[disk] = named_way(item).value_or(DiskWay::Elsewhere);
  }
  return ways;
}

std::vector<Finding> check_disk_sources(const kube::Object& import, const SourceVm& vm,
                                        bool local_sources) {
  std::vector<Finding> findings;
  for (const SourceDisk& disk : vm.disks) {
    const auto chosen = disk_override(import, disk);
    const bool may =
        local_sources || !chosen || !chosen->endpoint || is_over_the_network(*chosen->endpoint);
    if (chosen && may) continue;
    const Error why = chosen ? bad("a cluster's agents read from nbd://host:port/export alone, not "
                                   "from sockets or files of their nodes")
                             : chosen.error();
    const Finding finding = rules::finding("request.disk_sources", why.message());
    // What is wrong with the whole annotation is wrong for every disk.
    if (std::ranges::find(findings, finding) == findings.end()) findings.push_back(finding);
  }
  return findings;
}

}  // namespace vmferry::imports
