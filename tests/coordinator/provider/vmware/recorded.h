#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "coordinator/provider/vmware/model.h"
#include "coordinator/provider/vmware/properties.h"
#include "tests/support/places.h"

// Answers in the style of real servers, from tests/data/vmware.
namespace vmferry::vmware {

inline std::string recorded_text(const std::string& name) {
  std::ifstream file(testing::source_dir() + "/tests/data/vmware/" + name);
  EXPECT_TRUE(file.good()) << name;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline SoapReply recorded(const std::string& name) {
  Result<SoapReply> reply = SoapReply::parse(recorded_text(name));
  EXPECT_TRUE(reply.ok()) << (reply.ok() ? "" : reply.error().message());
  return *std::move(reply);
}

inline VmModel recorded_vm(const std::string& name) {
  const std::vector<ObjectProperties> objects = objects_of(recorded(name));
  EXPECT_EQ(objects.size(), 1u);
  return objects.empty() ? VmModel{} : read_vm(objects.front());
}

// The reference VM of the mapping's conformance cases: two disks, one card, four processors.
inline VmModel two_disk_vm() { return recorded_vm("vm_simulator.xml"); }

inline Device* device_of(VmModel& vm, const std::string& label) {
  for (Device& device : vm.devices) {
    if (device.label == label) return &device;
  }
  ADD_FAILURE() << "no device " << label;
  return nullptr;
}

}  // namespace vmferry::vmware
