#pragma once

#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "common/result.h"
#include "coordinator/fleet/fleet.h"

namespace vmferry::dashboard {

// The live state of transfers and agents as JSON: what the status server sends and the CLI reads.
nlohmann::json to_json(const std::vector<TransferView>& transfers);
nlohmann::json to_json(const std::vector<AgentView>& agents);
Result<std::vector<TransferView>> transfers_from_json(const nlohmann::json& json);
Result<std::vector<AgentView>> agents_from_json(const nlohmann::json& json);

std::string_view to_string(TransferState state);

}  // namespace vmferry::dashboard
