#include "coordinator/dashboard/views.h"

#include <array>

#include <nlohmann/json.hpp>

namespace vmferry::dashboard {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<TransferState, std::string_view>, 5> kStates{{
    {TransferState::Queued, "Queued"},
    {TransferState::Assigned, "Assigned"},
    {TransferState::Running, "Running"},
    {TransferState::Succeeded, "Succeeded"},
    {TransferState::Failed, "Failed"},
}};

constexpr protocol::JobPhase kLastPhase = protocol::JobPhase::Cancelled;

json to_json(const protocol::JobStatus& status) {
  return {{"phase", protocol::to_string(status.phase)},
          {"virtualBytes", status.virtual_bytes},
          {"toMoveBytes", status.to_move_bytes},
          {"toMoveFinal", status.to_move_final},
          {"movedBytes", status.moved_bytes},
          {"resumedBytes", status.resumed_bytes},
          {"zeroBytes", status.zero_bytes},
          {"verifiedBytes", status.verified_bytes},
          {"wireBytes", status.wire_bytes},
          {"retries", status.retries},
          {"reconnects", status.reconnects},
          {"bytesPerSecond", status.bytes_per_second},
          {"note", status.note}};
}

protocol::JobStatus status_from(const json& value) {
  protocol::JobStatus status;
  const auto phase = value.at("phase").get<std::string>();
  for (int i = 0; i <= static_cast<int>(kLastPhase); ++i) {
    const auto candidate = static_cast<protocol::JobPhase>(i);
    if (protocol::to_string(candidate) == phase) status.phase = candidate;
  }
  value.at("virtualBytes").get_to(status.virtual_bytes);
  value.at("toMoveBytes").get_to(status.to_move_bytes);
  value.at("toMoveFinal").get_to(status.to_move_final);
  value.at("movedBytes").get_to(status.moved_bytes);
  value.at("resumedBytes").get_to(status.resumed_bytes);
  value.at("zeroBytes").get_to(status.zero_bytes);
  value.at("verifiedBytes").get_to(status.verified_bytes);
  value.at("wireBytes").get_to(status.wire_bytes);
  value.at("retries").get_to(status.retries);
  value.at("reconnects").get_to(status.reconnects);
  value.at("bytesPerSecond").get_to(status.bytes_per_second);
  value.at("note").get_to(status.note);
  return status;
}

TransferView transfer_from(const json& value) {
  TransferView view;
  view.job.value = value.at("job").get<std::string>();
  value.at("import").get_to(view.import_key);
  value.at("disk").get_to(view.disk);
  const auto state = value.at("state").get<std::string>();
  for (const auto& [candidate, name] : kStates) {
    if (name == state) view.state = candidate;
  }
  value.at("attempt").get_to(view.attempt);
  value.at("agent").get_to(view.agent);
  view.status = status_from(value.at("status"));
  value.at("digest").get_to(view.digest);
  value.at("verified").get_to(view.verified);
  value.at("seconds").get_to(view.seconds);
  value.at("waitingFor").get_to(view.waiting_for);
  value.at("history").get_to(view.history);
  if (const json& error = value.at("error"); error.is_object()) {
    view.error = Error(error_kind_from_string(error.at("kind").get<std::string>()),
                       error.at("code").get<std::string>(), error.at("message").get<std::string>());
  }
  return view;
}

AgentView agent_from(const json& value) {
  AgentView view;
  view.agent.value = value.at("agent").get<std::string>();
  value.at("node").get_to(view.node);
  value.at("connected").get_to(view.connected);
  value.at("draining").get_to(view.draining);
  value.at("slots").get_to(view.slots);
  value.at("freeSlots").get_to(view.free_slots);
  value.at("bytesPerSecond").get_to(view.bytes_per_second);
  value.at("load").get_to(view.load);
  value.at("bytesMoved").get_to(view.bytes_moved);
  value.at("jobs").get_to(view.jobs);
  value.at("secondsSinceHeard").get_to(view.seconds_since_heard);
  value.at("build").get_to(view.build);
  view.vddk = value.value("vddk", false);
  return view;
}

template <typename T>
Result<std::vector<T>> list_from(const json& list, T (*one)(const json&)) {
  try {
    std::vector<T> views;
    for (const json& value : list) views.push_back(one(value));
    return views;
  } catch (const json::exception& failure) {
    return make_error(ErrorKind::InvalidArgument, "unexpected answer of the coordinator: {}",
                      failure.what());
  }
}

}  // namespace

std::string_view to_string(TransferState state) {
  for (const auto& [candidate, name] : kStates) {
    if (candidate == state) return name;
  }
  return "Queued";
}

json to_json(const std::vector<TransferView>& transfers) {
  json list = json::array();
  for (const TransferView& view : transfers) {
    json error;
    if (view.error) {
      error = {{"kind", vmferry::to_string(view.error->kind())},
               {"code", view.error->code()},
               {"message", view.error->message()}};
    }
    list.push_back({{"job", view.job.value},
                    {"import", view.import_key},
                    {"disk", view.disk},
                    {"state", to_string(view.state)},
                    {"attempt", view.attempt},
                    {"agent", view.agent},
                    {"status", to_json(view.status)},
                    {"digest", view.digest},
                    {"verified", view.verified},
                    {"seconds", view.seconds},
                    {"error", error},
                    {"waitingFor", view.waiting_for},
                    {"history", view.history}});
  }
  return list;
}

json to_json(const std::vector<AgentView>& agents) {
  json list = json::array();
  for (const AgentView& view : agents) {
    list.push_back({{"agent", view.agent.value},
                    {"node", view.node},
                    {"connected", view.connected},
                    {"draining", view.draining},
                    {"slots", view.slots},
                    {"freeSlots", view.free_slots},
                    {"bytesPerSecond", view.bytes_per_second},
                    {"load", view.load},
                    {"bytesMoved", view.bytes_moved},
                    {"jobs", view.jobs},
                    {"secondsSinceHeard", view.seconds_since_heard},
                    {"build", view.build},
                    {"vddk", view.vddk}});
  }
  return list;
}

Result<std::vector<TransferView>> transfers_from_json(const json& list) {
  return list_from(list, transfer_from);
}

Result<std::vector<AgentView>> agents_from_json(const json& list) {
  return list_from(list, agent_from);
}

}  // namespace vmferry::dashboard
