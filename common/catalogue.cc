#include "common/catalogue.h"

#include <algorithm>
#include <array>

namespace vmferry {
namespace {

constexpr auto kCatalogue = std::to_array<CatalogueEntry>({
    {code::kTargetBusy, "another process writes this target",
     "wait for it to end, or stop it; two writers never share a target"},
    {code::kTargetFull, "the target file system or its quota is full",
     "free space or choose a larger storage class; the copy goes on where it stopped"},
    {code::kTargetIo, "the target device reported an I/O error",
     "check the storage and the kernel log of the agent's machine"},
    {code::kNameTaken, "an object of that name exists and does not belong to this import",
     "set spec.targetVmName to another name, or remove the other object"},
    {code::kStorageClass, "the storage class does not exist or cannot hold this claim",
     "create the StorageClass, or map the disk to one of the classes that exist"},
    {code::kTargetTooSmall, "the target is smaller than the source disk",
     "provide a larger volume or device; on a cluster expand the claim, and the import goes on"},
    {code::kTargetUnsafe, "the target is a symbolic link or not a file or block device",
     "name the file or device itself"},
    {code::kTargetNotMounted, "the agent does not see the volume that the kubelet mounted",
     "mount the kubelet's directory into the agent with mountPropagation HostToContainer (see "
     "deploy/daemonset) and check that it is a shared mount on the node; or let holders copy "
     "by themselves (mover mode)"},
    {code::kTargetDenied, "the pod that copies may not open the block device of its volume",
     "on the node, let group disk (6) read and write the device, as udev does, or set "
     "device_ownership_from_security_context in the container runtime, as KubeVirt asks for; "
     "agents "
     "open devices only with deploy/daemonset/components/block-by-agents"},
    {code::kTargetOwner, "the file server let nobody give the disk to the virtual machine's user",
     "unless it takes everybody for the file's owner (all_squash), the VM cannot open its disk: on "
     "the file server run chown 107:107 on disk.img in the directory of this claim's volume; for "
     "later imports do not squash root, or let movers copy (--mode=movers of the coordinator)"},
    {code::kHolderRefused, "the cluster refuses the pod that holds the target volume",
     "allow the pod named in the error: pod security level, admission webhook or service account; "
     "the import goes on by itself"},
    {code::kAdoption, "CDI has not taken over the finished disk",
     "see the DataVolume's conditions and CDI's controller; the import goes on by itself"},
    {code::kAgentRefused, "a pod that reached the coordinator's port is no agent of ours",
     "if it should be one, apply deploy/daemonset as it is: service account, token audience and "
     "node name; else find out who made the pod"},
    {code::kNoAgent, "no agent is connected that can reach the target",
     "start agents (vmferry up, or check the DaemonSet) and look at vmferry get agents"},
    {code::kApiMissing, "the cluster lacks an API, or has it in another version",
     "install or upgrade what serves it (KubeVirt, CDI, Multus); the import goes on by itself"},
    {code::kSchema, "a CustomResourceDefinition of the cluster is of another version than ours",
     "apply deploy/daemonset/crds; the import goes on by itself"},
    {code::kClusterCredentials, "the API server does not accept our credentials, or none are found",
     "check the kubeconfig or service account named in the error; log in again where it expired"},
    {code::kForbidden, "the service account lacks a permission",
     "apply deploy/daemonset's RBAC as it is, or grant the permission named in the error"},
    {code::kPodSecurity, "the namespace's pod security level forbids this pod",
     "raise the level of that namespace to baseline, or import into another one"},
    {code::kQuota, "a quota or limit of the namespace forbids it",
     "raise the ResourceQuota or LimitRange, or remove what is not needed; the import goes on by "
     "itself"},
    {code::kClusterTls, "the API server's certificate is not trusted",
     "correct certificate-authority in the kubeconfig"},
    {code::kClusterUnreachable, "the API server cannot be reached",
     "check the server's address in the kubeconfig, the network and that the server runs"},
    {code::kWebhook,
     "an admission webhook or policy refused the object, or a webhook did not answer",
     "see its text; change the import or the policy, or repair the webhook"},
    {code::kBlocked, "a rule forbids this import as it is",
     "see the findings in vmferry describe import; fix the cause and the import goes on by itself"},
    {code::kManifest, "the YAML is not what the API expects",
     "correct the line named in the error; examples/ has working files"},
    {code::kMappingMissing, "the ResourceMapping does not exist",
     "apply it, or correct spec.resourceMapping; the import goes on by itself"},
    {code::kObjectNotFound, "there is no object of that name", "list what exists with vmferry get"},
    {code::kSecretInvalid, "the credentials secret is incomplete or unreadable",
     "correct the key named in the error; the value is a YAML map with apiUrl, username, password"},
    {code::kSecretMissing, "the credentials secret does not exist",
     "apply the Secret, then delete and re-apply the import"},
    {code::kTemplate, "no common template fits the source's operating system",
     "set the OS type on the source, add an entry to the OS map, provide a template, or enable "
     "importWithoutTemplate"},
    {code::kSourceAuth, "the source refused user name or password",
     "correct the credentials secret; check that the account is not locked"},
    {code::kSourcePrivilege, "the source's account may not read files of datastores",
     "grant it Datastore.Browse and Datastore.FileManagement on the datastores of the VM's disks"},
    {code::kSourceChanged, "the source disk changed while it was copied",
     "keep the source VM stopped during a cold import; the copy starts over"},
    {code::kDiskLocked, "the source disk is locked by another operation",
     "wait for the backup, snapshot or transfer that holds it"},
    {code::kDiskMissing, "the source disk's file or image does not exist on the server",
     "check the VM's disks on the source"},
    {code::kDiskUnsupported, "the source disk cannot be read as it is",
     "see the reason in the text: remove snapshots, or configure another access path"},
    {code::kSourceProtocol, "the server's answer is not what the protocol demands",
     "check that apiUrl names the right kind of server"},
    {code::kNbdkitMissing,
     "nbdkit, or a plugin or filter of it, is not installed where disks are read",
     "install the packages nbdkit and, for VDDK, nbdkit-plugin-vddk on the machine or in the image "
     "of the agents"},
    {code::kVddkAgent,
     "the disk is read by VMware's VDDK library, and no agent that can write its target has it",
     "start an agent with --vddk-libdir there within the hour, and the import goes on by itself"},
    {code::kVddkMissing,
     "VMware's VDDK library is not where it was looked for, or cannot be loaded",
     "unpack VMware-vix-disklib for x86_64 and give its directory (the one that holds lib64) to "
     "the "
     "agents as --vddk-libdir"},
    {code::kShutdownTimeout, "the source VM did not shut down in time",
     "shut it down by hand; the import goes on by itself"},
    {code::kSourceTls, "the server's certificate is not trusted",
     "correct the thumbprint or CA in the credentials secret"},
    {code::kSourceUnreachable, "the source server cannot be reached",
     "check apiUrl, name resolution, firewall and that the server runs"},
    {code::kVmAmbiguous, "several source VMs have that name",
     "name the VM by id, or by name and cluster or inventory path"},
    {code::kVmNotFound, "the source has no such VM, or the account may not see it",
     "check spec.source...vm.id or .name and the account's permissions"},
    {code::kVmState, "the source VM is in a state that forbids this",
     "bring it to a plain running or stopped state"},
    {code::kAgentLost, "the agent that copied the disk is gone",
     "nothing: another agent takes over from the journal; check the lost one"},
    {code::kJournalInvalid, "the journal does not belong to this source and target",
     "nothing: the copy starts over; keep journal and target together"},
    {code::kJournalIo,
     "the disk that holds the journal (not the target's) is full, fails or may not be written",
     "free space there, repair it or grant writing: the path is in the error; the copy goes on "
     "where it stopped"},
    {code::kSourceRead, "the source failed to deliver bytes after all retries",
     "check the source storage and network; the copy goes on where it stopped when retried"},
    {code::kStalled, "no byte arrived for too long",
     "check the source host and the network between it and the agent"},
    {code::kTicketExpired, "the permission to read the disk ended and could not be renewed",
     "check the source for a cancelled transfer; the import tries again"},
    {code::kVerifyFailed, "the target does not hold what was read from the source",
     "check the target storage for corruption; the disk is not used"},
});

}  // namespace

std::span<const CatalogueEntry> error_catalogue() {
  static const auto sorted = [] {
    auto entries = kCatalogue;
    std::ranges::sort(entries, {}, &CatalogueEntry::code);
    return entries;
  }();
  return sorted;
}

std::optional<CatalogueEntry> find_catalogue_entry(std::string_view code) {
  for (const CatalogueEntry& entry : kCatalogue) {
    if (!code.empty() && entry.code == code) return entry;
  }
  return std::nullopt;
}

std::string text_with_remedy(const Error& error) {
  const auto entry = find_catalogue_entry(error.code());
  if (!entry) return error.message();
  return fmt::format("{} [{}]; {}", error.message(), entry->code, entry->remedy);
}

}  // namespace vmferry
