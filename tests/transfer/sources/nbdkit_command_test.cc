// Rows are those of source-vmware.md 10.
#include "transfer/sources/nbdkit_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/catalogue.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/sources/stderr_tail.h"

namespace vmferry {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

DiskEndpoint endpoint() {
  DiskEndpoint endpoint;
  endpoint.kind = SourceKind::NbdkitVddk;
  endpoint.vddk.server = "vc.example";
  endpoint.vddk.port = 8443;
  endpoint.vddk.user = "administrator@vsphere.local";
  endpoint.vddk.password = SecretString("s3cr3t");
  endpoint.vddk.thumbprint = "aabbccddeeff00112233445566778899aabbccdd";
  endpoint.vddk.vm_moref = "vm-42";
  endpoint.vddk.snapshot_moref = "snapshot-55";
  endpoint.vddk.file = "[ds 1] dir/disk.vmdk";
  return endpoint;
}

TEST(NbdkitCommandTest, Vsrc48PasswordIsHandedOverByDescriptorAndNeverInArguments) {
  const testing::Workspace workspace;
  std::filesystem::create_directory(workspace.path("lib64"));
  SourceEnvironment environment;
  environment.vddk_libdir = workspace.path("");
  const auto command = nbdkit_command(endpoint(), environment, {"/run/s", "/run/p"});
  ASSERT_TRUE(command.ok()) << command.error().message();
  EXPECT_THAT(*command, Not(Contains(HasSubstr("s3cr3t"))));
  for (const char* word :
       {"server=vc.example", "port=8443", "password=-3", "vm=moref=vm-42", "snapshot=snapshot-55",
        "file=[ds 1] dir/disk.vmdk",
        "thumbprint=AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD",
        "--exit-with-parent", "--readonly", "transports=nbdssl:nbd", "maxdata=2M"}) {
    EXPECT_THAT(*command, Contains(word));
  }
  const auto retry = std::ranges::find(*command, "--filter=retry");
  EXPECT_EQ(*(retry + 1), "vddk") << "retry is the filter next to the plugin";
}

TEST(NbdkitCommandTest, Vsrc45WrongLibdirIsToldBeforeAnythingIsStarted) {
  const testing::Workspace workspace;
  SourceEnvironment environment;
  environment.vddk_libdir = workspace.path("");
  const auto command = nbdkit_command(endpoint(), environment, {"/run/s", "/run/p"});
  ASSERT_FALSE(command.ok());
  EXPECT_EQ(command.error().kind(), ErrorKind::InvalidArgument);
  EXPECT_EQ(command.error().code(), code::kVddkMissing);
  EXPECT_THAT(text_with_remedy(command.error()), HasSubstr("--vddk-libdir"));
}

TEST(NbdkitCommandTest, StandInTakesThePartsOfTheDatastorePath) {
  SourceEnvironment environment;
  environment.vddk_stand_in = {"file", "/stores/{ds}/{path}", "tag={file}"};
  const auto command = nbdkit_command(endpoint(), environment, {"/run/s", "/run/p"});
  ASSERT_TRUE(command.ok());
  EXPECT_THAT(*command, Contains("/stores/ds 1/dir/disk.vmdk"));
  EXPECT_THAT(*command, Contains("tag=[ds 1] dir/disk.vmdk"));
}

TEST(NbdkitCommandTest, Vsrc45CausesAreToldApart) {
  const Error plugin =
      explain_nbdkit_failure({"nbdkit: error: cannot open plugin 'vddk': no such file"});
  const Error library =
      explain_nbdkit_failure({"nbdkit: error: libvixDiskLib.so.7: cannot open shared object"});
  const Error other = explain_nbdkit_failure({"nbdkit: error: bind: address in use"});
  EXPECT_EQ(plugin.kind(), ErrorKind::Unimplemented);
  EXPECT_EQ(plugin.code(), code::kNbdkitMissing);
  EXPECT_EQ(library.code(), code::kVddkMissing);
  EXPECT_EQ(library.kind(), ErrorKind::InvalidArgument);
  EXPECT_EQ(other.kind(), ErrorKind::Unavailable);
  EXPECT_THAT(other.message(), HasSubstr("address in use"));
}

TEST(NbdkitCommandTest, Vsrc46NfcMemoryErrorIsRecognised) {
  EXPECT_TRUE(tells_nfc_memory_exhausted(
      "nbdkit: vddk: NFC error 5: Failed to allocate the requested 2097176 bytes"));
  EXPECT_FALSE(tells_nfc_memory_exhausted("nbdkit: vddk: NFC error 2"));
}

TEST(VddkSessionsTest, CountsFromConnectingToDisconnecting) {
  VddkSessions sessions;
  const auto add = [&sessions](std::initializer_list<std::string_view> lines) {
    for (const std::string_view line : lines) sessions.add(line);
    return sessions.open();
  };
  EXPECT_EQ(add({"nbdkit: vddk[1]: debug: VDDK call: VixDiskLib_ConnectEx (h->params, 1, (null))"}),
            1);
  EXPECT_EQ(add({"nbdkit: vddk[1]: debug: vddk: close",
                 "nbdkit: vddk[1]: debug: VDDK call: VixDiskLib_Close (handle)"}),
            1);
  EXPECT_EQ(add({"nbdkit: vddk[1]: debug: VDDK call: VixDiskLib_Disconnect (connection)"}), 0);
  EXPECT_EQ(add({"nbdkit: debug: VDDK call: VixDiskLib_ConnectEx (h->params)",
                 "nbdkit: vddk[1]: error: VixDiskLib_ConnectEx: Cannot complete login"}),
            0);
  EXPECT_EQ(sessions.begun(), 2);
  EXPECT_EQ(add({"VDDK call: VixDiskLib_Disconnect (connection)"}), 0) << "never less than none";
}

TEST(StderrTailTest, Vsrc48KeepsTheLastLinesAndNoSecret) {
  StderrTail tail({SecretString("s3cr3t")}, 3);
  tail.add("one\ntwo s3cr");
  tail.add("3t!\nconfig key=password, value=x\nthree\nfo");
  tail.add("ur\npartial");
  EXPECT_EQ(tail.lines(), (std::vector<std::string>{"two ***!", "three", "four"}));
}

}  // namespace
}  // namespace vmferry
