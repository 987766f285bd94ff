#include "cli/measured_rate.h"

#include <algorithm>

#include "common/bytes.h"

namespace vmferry::cli {
namespace {

constexpr std::uint64_t kEnough = 256 * kMiB;
constexpr std::chrono::seconds kLongEnough{5};

struct Measured {
  WallTime ended;
  std::uint64_t bytes = 0;
  double seconds = 0;
};

std::optional<Measured> measure(const api::VirtualMachineImport& import) {
  const api::Condition* end = api::find_condition(import.status.conditions, "Succeeded");
  if (end == nullptr || end->status != "True") return std::nullopt;
  const auto created = parse_rfc3339(import.object.creation_timestamp());
  const auto ended = parse_rfc3339(end->last_transition_time);
  if (!created || !ended || *ended - *created < kLongEnough) return std::nullopt;
  Measured measured{.ended = *ended, .bytes = 0, .seconds = Seconds(*ended - *created).count()};
  for (const api::DiskStatus& disk : import.status.disks) measured.bytes += disk.moved_bytes;
  if (measured.bytes < kEnough) return std::nullopt;
  return measured;
}

}  // namespace

std::optional<AssumedRate> measured_rate(const std::vector<api::VirtualMachineImport>& imports,
                                         ProviderKind provider) {
  std::optional<Measured> latest;
  std::string name;
  for (const api::VirtualMachineImport& import : imports) {
    const bool same = provider == ProviderKind::Ovirt ? import.spec.ovirt.has_value()
                                                      : import.spec.vmware.has_value();
    const auto measured = same ? measure(import) : std::nullopt;
    if (!measured || (latest && latest->ended >= measured->ended)) continue;
    latest = measured;
    name = import.object.key().to_string();
  }
  if (!latest) return std::nullopt;
  return AssumedRate{static_cast<double>(latest->bytes) / latest->seconds,
                     fmt::format("measured: import {} moved {} in {}, from start to end", name,
                                 human_bytes(latest->bytes), human_duration(latest->seconds))};
}

}  // namespace vmferry::cli
