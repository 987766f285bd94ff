#include <algorithm>

#include "common/bytes.h"
#include "coordinator/api/import.h"

namespace vmferry::api {
namespace {

// Absent rather than empty: clients print what is there.
void put(nlohmann::json& object, const char* name, const std::string& value) {
  if (!value.empty()) object[name] = value;
}

nlohmann::json to_json(const Condition& condition) {
  nlohmann::json json{{"type", condition.type}, {"status", condition.status}};
  put(json, "reason", condition.reason);
  put(json, "message", condition.message);
  put(json, "lastHeartbeatTime", condition.last_heartbeat_time);
  put(json, "lastTransitionTime", condition.last_transition_time);
  return json;
}

nlohmann::json to_json(const DiskStatus& disk) {
  nlohmann::json json{{"name", disk.name},
                      {"virtualBytes", disk.virtual_bytes},
                      {"toMoveBytes", disk.to_move_bytes},
                      {"movedBytes", disk.moved_bytes},
                      {"resumedBytes", disk.resumed_bytes},
                      {"bytesPerSecond", disk.bytes_per_second},
                      {"attempt", disk.attempt},
                      {"verified", disk.verified}};
  put(json, "sourceDisk", disk.source_disk);
  put(json, "claim", disk.claim);
  put(json, "phase", disk.phase);
  put(json, "node", disk.node);
  put(json, "digest", disk.digest);
  put(json, "lastError", disk.last_error);
  put(json, "sourcePath", disk.source_path);
  return json;
}

// All disks together, in the words of `kubectl get`.
nlohmann::json copy_to_json(const std::vector<DiskStatus>& disks) {
  std::uint64_t to_move = 0;
  std::uint64_t moved = 0;
  std::uint64_t rate = 0;
  for (const DiskStatus& disk : disks) {
    to_move += disk.to_move_bytes;
    moved += std::min(disk.moved_bytes, disk.to_move_bytes);
    if (disk.moved_bytes < disk.to_move_bytes) rate += disk.bytes_per_second;
  }
  nlohmann::json json{{"toMoveBytes", to_move}, {"movedBytes", moved}};
  // As null they clear, in a merge patch, what stood there.
  json["rate"] = nullptr;
  json["eta"] = nullptr;
  if (rate > 0) {
    json["rate"] = human_rate(static_cast<double>(rate));
    json["eta"] = human_duration(static_cast<double>(to_move - moved) / static_cast<double>(rate));
  }
  return json;
}

}  // namespace

nlohmann::json status_to_json(const ImportStatus& status) {
  // The name and the lists are there even when empty: as a merge patch they clear what stood there.
  nlohmann::json json{{"targetVmName", status.target_vm_name},
                      {"conditions", nlohmann::json::array()},
                      {"dataVolumes", nlohmann::json::array()},
                      {"disks", nlohmann::json::array()}};
  for (const Condition& condition : status.conditions) {
    json["conditions"].push_back(to_json(condition));
  }
  for (const std::string& name : status.data_volumes) {
    json["dataVolumes"].push_back(nlohmann::json{{"name", name}});
  }
  for (const DiskStatus& disk : status.disks) json["disks"].push_back(to_json(disk));
  if (!status.disks.empty()) json["copy"] = copy_to_json(status.disks);
  return json;
}

}  // namespace vmferry::api
