#include "cli/load_views.h"

#include <algorithm>

#include "cli/telemetry.h"

namespace vmferry::cli {
namespace {

ImportView view_of_object(const kube::Object& object, const std::vector<TransferView>& transfers) {
  const auto import = api::parse_import(object);
  if (import) return view_of(*import, transfers);
  ImportView view;
  view.key = object.key();
  view.uid = object.uid();
  view.outcome = ImportOutcome::Blocked;
  view.reason = "Unreadable";
  view.message = import.error().message();
  return view;
}

// No coordinator means no live figures, which is not an error: the objects tell what was last
// known.
std::vector<TransferView> live_transfers(const embedded::Home& home, std::stop_token stop) {
  auto telemetry = Telemetry::connect(home);
  if (!telemetry) return {};
  auto transfers = telemetry->transfers(stop);
  return transfers ? *std::move(transfers) : std::vector<TransferView>{};
}

}  // namespace

Result<std::vector<ImportView>> load_views(kube::Reader& reader, const embedded::Home& home,
                                           const std::string& ns,
                                           const std::vector<std::string>& names,
                                           std::stop_token stop) {
  const std::vector<TransferView> transfers = live_transfers(home, stop);
  const kube::ObjectList list =
      TRY(reader.list(kube::types::kVirtualMachineImport, {.ns = ns, .label_selector = {}}, stop));
  std::vector<ImportView> views;
  for (const kube::Object& object : list.items) {
    if (!names.empty() && std::ranges::find(names, object.name()) == names.end()) continue;
    views.push_back(view_of_object(object, transfers));
  }
  std::ranges::sort(views, {}, &ImportView::key);
  return views;
}

Result<std::vector<ImportView>> load_views(kube::Reader& reader, const embedded::Home& home,
                                           const std::vector<kube::ObjectKey>& keys,
                                           std::stop_token stop) {
  const std::vector<TransferView> transfers = live_transfers(home, stop);
  std::vector<ImportView> views;
  for (const kube::ObjectKey& key : keys) {
    const auto object =
        TRY(kube::get_if_exists(reader, kube::types::kVirtualMachineImport, key, stop));
    if (object) {
      views.push_back(view_of_object(*object, transfers));
    } else {
      views.emplace_back();
      views.back().key = key;
      views.back().outcome = ImportOutcome::Gone;
    }
  }
  return views;
}

}  // namespace vmferry::cli
