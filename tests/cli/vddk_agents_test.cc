#include "cli/vddk_agents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmferry::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

AgentView agent(bool connected, bool vddk) {
  AgentView view;
  view.connected = connected;
  view.vddk = vddk;
  return view;
}

kube::Object pod(const char* ready, json containers) {
  return kube::Object(json{{"status", {{"conditions", {{{"type", "Ready"}, {"status", ready}}}}}},
                           {"spec", {{"containers", std::move(containers)}}}});
}

TEST(VddkAgentsTest, CountsAgentsThatAreThere) {
  EXPECT_EQ(vddk_agents(std::vector<AgentView>{}), VddkAgents());
  const VddkAgents some = vddk_agents({agent(true, true), agent(true, false), agent(false, true)});
  EXPECT_EQ(some.with, 1u);
  EXPECT_EQ(some.all, 2u);
  EXPECT_EQ(vddk_note(some), "1 of 2 agents can read disks through VDDK");
  EXPECT_THAT(vddk_note(vddk_agents({agent(true, false)})), HasSubstr("none of 1 agents has VDDK"));
}

TEST(VddkAgentsTest, LooksAtHowReadyPodsWereStarted) {
  const json plain = {{{"name", "agent"}, {"args", {"--kubelet-volumes"}}}};
  const json given = {{{"name", "log"}},
                      {{"name", "agent"}, {"args", {"--drain=600", "--vddk-libdir=/vddk"}}}};
  const json odd = {{{"name", "agent"}, {"command", {1, "vmferry-agent"}}}};
  const VddkAgents found =
      vddk_agents_of_pods({pod("True", plain), pod("True", given), pod("False", given),
                           pod("True", odd), kube::Object(json::object())});
  EXPECT_EQ(found.with, 1u);
  EXPECT_EQ(found.all, 3u);
  EXPECT_THAT(vddk_note(found), HasSubstr("1 of 3 agents' pods were given VDDK"));
}

TEST(VddkAgentsTest, SaysWhenNobodyCouldBeAsked) {
  EXPECT_THAT(vddk_note({.unknown_why = "pods is forbidden"}),
              HasSubstr("could not be asked (pods is forbidden)"));
}

}  // namespace
}  // namespace vmferry::cli
