#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/provider/ovirt/rules.h"
#include "coordinator/provider/ovirt/time_zones.h"
#include "tests/coordinator/provider/ovirt/vm_xml.h"

// Machines as XML, and what the rules find in them.
namespace vmferry::ovirt {

using Ids = std::vector<std::string>;

inline WallTime some_day() { return *parse_rfc3339("2026-11-22T12:00:00Z"); }

inline std::vector<Finding> findings_of(const std::string& xml) {
  return check_rules(vm_of(xml), {.is_utc_compatible = [](std::string_view zone) {
                       return is_utc_compatible(zone, some_day());
                     }});
}

inline Ids ids_of(const std::vector<Finding>& findings) {
  Ids ids;
  for (const Finding& finding : findings) ids.push_back(finding.rule);
  return ids;
}

struct Case {
  const char* name;
  std::string xml;
  Ids expected;
  FindingLevel level = FindingLevel::Log;  // of every finding
  std::string text = {};                   // in the first finding's
};

inline void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::vector<Finding> findings = findings_of(c.xml);
    EXPECT_EQ(ids_of(findings), c.expected);
    for (const Finding& finding : findings) {
      EXPECT_EQ(finding.level, c.level);
      EXPECT_EQ(finding.group, FindingGroup::Rules);
      EXPECT_TRUE(finding.level != FindingLevel::Block || !finding.remedy.empty());
    }
    if (!findings.empty()) {
      EXPECT_NE(findings[0].text.find(c.text), std::string::npos) << findings[0].text;
    }
  }
}

inline constexpr FindingLevel kLog = FindingLevel::Log;
inline constexpr FindingLevel kWarn = FindingLevel::Warn;
inline constexpr FindingLevel kBlock = FindingLevel::Block;

}  // namespace vmferry::ovirt
