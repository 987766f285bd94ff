#include "coordinator/imports/ledger.h"

#include "coordinator/api/import.h"

namespace vmferry::imports {

Result<Ledger> ledger_of(const kube::Object& import) {
  const std::optional<std::string> text = import.annotation(api::kLedger);
  if (!text || text->empty()) return Ledger{};
  try {
    const nlohmann::json json = nlohmann::json::parse(*text);
    Ledger ledger;
    ledger.openings = json.value("openings", ledger.openings);
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
  if (!ledger.openings.empty()) json["openings"] = ledger.openings;
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
