#include "coordinator/cluster/metrics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vmferry::cluster {
namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(MetricsTest, EveryFamilyIsTold) {
  MetricsInput input;
  input.leader = true;
  input.queue = 3;
  input.imports = {{"CopyingDisks", 2}, {"odd \"phase\"\\", 1}};
  AgentView lost, here;
  here.connected = true;
  here.slots = 4;
  here.free_slots = 3;
  here.bytes_moved = 1 << 20;
  lost.bytes_moved = 1 << 20;
  lost.slots = 4;
  input.agents = {lost, here};
  TransferView running;
  running.state = TransferState::Running;
  running.attempt = 3;
  running.status.retries = 5;
  input.transfers = {running};
  input.api_answers = {{0, 1}, {200, 40}};
  input.hellos.refused = 2;
  const std::string text = metrics_text(input);
  for (const char* line :
       {"vmferry_leader 1", "vmferry_queue_imports 3", "vmferry_imports{phase=\"CopyingDisks\"} 2",
        "vmferry_imports{phase=\"odd \\\"phase\\\"\\\\\"} 1",
        "vmferry_agents{state=\"connected\"} 1", "vmferry_agents{state=\"lost\"} 1",
        "vmferry_slots{state=\"used\"} 1", "vmferry_slots{state=\"free\"} 3",
        "vmferry_bytes_moved_total 2097152", "vmferry_agent_hellos_total{answer=\"refused\"} 2",
        "vmferry_transfers{state=\"Running\"} 1", "vmferry_transfers{state=\"Queued\"} 0",
        "vmferry_transfer_attempts_again 2", "vmferry_transfer_request_retries 5",
        "vmferry_api_requests_total{status=\"0\"} 1",
        "vmferry_api_requests_total{status=\"200\"} 40",
        "# TYPE vmferry_bytes_moved_total counter"}) {
    EXPECT_TRUE(has_line(text, line)) << line << " in\n" << text;
  }
}

TEST(MetricsTest, EachNodeIsToldByItselfAndMoversOnlyInTheSums) {
  MetricsInput input;
  AgentView one, two, mover;
  one.agent = AgentId{"node-1"};
  one.node = "node-1";
  one.connected = true;
  one.jobs = 2;
  one.bytes_per_second = 5000;
  one.bytes_moved = 700;
  two.node = "node-2";
  mover.node = "mover:u";
  mover.connected = true;
  mover.bytes_moved = 50;
  input.agents = {one, two, mover};
  input.bytes_moved_by_forgotten = 8;
  TransferView running;
  running.agent = "node-1";
  running.status.retries = 3;
  input.transfers = {running, running};
  const std::string text = metrics_text(input);
  for (const char* line :
       {"vmferry_node_connected{node=\"node-1\"} 1", "vmferry_node_connected{node=\"node-2\"} 0",
        "vmferry_node_jobs{node=\"node-1\"} 2",
        "vmferry_node_bytes_per_second{node=\"node-1\"} 5000",
        "# TYPE vmferry_node_bytes_moved_total counter",
        "vmferry_node_bytes_moved_total{node=\"node-1\"} 700",
        "vmferry_node_request_retries{node=\"node-1\"} 6",
        "vmferry_node_request_retries{node=\"node-2\"} 0", "vmferry_bytes_moved_total 758"}) {
    EXPECT_TRUE(has_line(text, line)) << line << " in\n" << text;
  }
  EXPECT_EQ(text.find("mover:"), std::string::npos);
}

TEST(MetricsTest, ImportsThatEndedAreCountedUnderTheNamesThatPeopleKnow) {
  imports::Outcomes outcomes;
  outcomes.record(imports::ImportOutcome::Successful, std::chrono::seconds(60));
  outcomes.record(imports::ImportOutcome::Successful, std::chrono::seconds(1000));
  outcomes.record(imports::ImportOutcome::Cancelled, std::chrono::hours(2));
  MetricsInput input;
  input.outcomes = outcomes.counts();
  const std::string text = metrics_text(input);
  for (const char* line : {"# TYPE kubevirt_vmimport_duration histogram",
                           "kubevirt_vmimport_counter{result=\"successful\"} 2",
                           "kubevirt_vmimport_counter{result=\"failed\"} 0",
                           "kubevirt_vmimport_counter{result=\"cancelled\"} 1",
                           "kubevirt_vmimport_duration_bucket{result=\"successful\",le=\"60\"} 1",
                           "kubevirt_vmimport_duration_bucket{result=\"successful\",le=\"3600\"} 2",
                           "kubevirt_vmimport_duration_bucket{result=\"cancelled\",le=\"3600\"} 0",
                           "kubevirt_vmimport_duration_bucket{result=\"cancelled\",le=\"+Inf\"} 1",
                           "kubevirt_vmimport_duration_sum{result=\"successful\"} 1060",
                           "kubevirt_vmimport_duration_count{result=\"failed\"} 0"}) {
    EXPECT_TRUE(has_line(text, line)) << line << " in\n" << text;
  }
}

TEST(MetricsTest, AStandbyTellsThatItIsNone) {
  EXPECT_TRUE(has_line(metrics_text({}), "vmferry_leader 0"));
}

TEST(MetricsTest, ThePhaseIsWhatPeopleSee) {
  const auto phase = [](const char* conditions) {
    return phase_of({{"status", {{"conditions", nlohmann::json::parse(conditions)}}}});
  };
  EXPECT_EQ(phase_of(nlohmann::json::object()), "New");
  EXPECT_EQ(phase(R"([{"type": "Valid", "status": "False", "reason": "SecretNotFound"}])"),
            "SecretNotFound");
  EXPECT_EQ(phase(R"([{"type": "Valid", "status": "True", "reason": "ValidationCompleted"},
                      {"type": "Processing", "status": "True", "reason": "CopyingDisks"}])"),
            "CopyingDisks");
  EXPECT_EQ(phase(R"([{"type": "Succeeded", "status": "True", "reason": "VirtualMachineReady"},
                      {"type": "Processing", "status": "True", "reason": "ProcessingCompleted"}])"),
            "VirtualMachineReady");
  EXPECT_EQ(phase(R"([{"type": "Succeeded", "status": "False", "reason": "VMCreationFailed"}])"),
            "Failed");
}

}  // namespace
}  // namespace vmferry::cluster
