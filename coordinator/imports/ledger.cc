#include "coordinator/imports/ledger.h"

#include "coordinator/api/import.h"

namespace vmferry::imports {
namespace {

// One that a later version wrote and we do not know is chosen anew.
WayChoice way_from(const nlohmann::json& json) {
  const auto name = json.at("way").get<std::string>();
  for (const DiskWay way : {DiskWay::FlatFile, DiskWay::Vddk, DiskWay::ExportLease}) {
    if (name == to_string(way)) return {way, json.value("why", "")};
  }
  return {};
}

}  // namespace

Result<Ledger> ledger_of(const kube::Object& import) {
  const std::optional<std::string> text = import.annotation(api::kLedger);
  if (!text || text->empty()) return Ledger{};
  try {
    const nlohmann::json json = nlohmann::json::parse(*text);
    Ledger ledger;
    ledger.written_by = json.value("import", "");
    ledger.openings = json.value("openings", ledger.openings);
    if (json.contains("ways")) {
      for (const auto& [disk, way] : json.at("ways").items()) ledger.ways[disk] = way_from(way);
    }
    ledger.claims = json.value("claims", ledger.claims);
    ledger.identities = json.value("identities", ledger.identities);
    ledger.power_cut_at = json.value("powerCutAt", "");
    ledger.opened_at = json.value("openedAt", "");
    ledger.source_id = json.value("sourceId", "");
    ledger.stop_requested_at = json.value("stopRequestedAt", "");
    ledger.failure_reason = json.value("failureReason", "");
    ledger.failure_message = json.value("failureMessage", "");
    return ledger;
  } catch (const nlohmann::json::exception& failure) {
    return make_error(ErrorKind::DataLoss, "annotation '{}' is damaged: {}", api::kLedger,
                      failure.what());
  }
}

std::string to_text(const Ledger& ledger) {
  nlohmann::json json = nlohmann::json::object();
  if (!ledger.written_by.empty()) json["import"] = ledger.written_by;
  if (!ledger.openings.empty()) json["openings"] = ledger.openings;
  for (const auto& [disk, choice] : ledger.ways) {
    json["ways"][disk] = {{"way", to_string(choice.way)}, {"why", choice.why}};
  }
  if (!ledger.claims.empty()) json["claims"] = ledger.claims;
  if (!ledger.identities.empty()) json["identities"] = ledger.identities;
  if (!ledger.power_cut_at.empty()) json["powerCutAt"] = ledger.power_cut_at;
  if (!ledger.opened_at.empty()) json["openedAt"] = ledger.opened_at;
  if (!ledger.source_id.empty()) json["sourceId"] = ledger.source_id;
  if (!ledger.stop_requested_at.empty()) json["stopRequestedAt"] = ledger.stop_requested_at;
  if (!ledger.failure_reason.empty()) json["failureReason"] = ledger.failure_reason;
  if (!ledger.failure_message.empty()) json["failureMessage"] = ledger.failure_message;
  return json.dump();
}

}  // namespace vmferry::imports
