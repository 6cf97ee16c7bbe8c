"""Containers without a container runtime: root directories made of this machine's programs, in the caller's mount namespace."""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile

# What a container has of this machine.
SYSTEM = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "dev", "proc"}
LIBRARIES = "/usr/local/lib"


class NotPlayed(Exception):
    pass


@contextlib.contextmanager
def image():
    """A root directory with this machine's programs, and an empty /usr/local/lib, as that of a container."""
    root = tempfile.mkdtemp(prefix="image")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root], check=True)
    try:
        for name in sorted(os.listdir("/")):
            if os.path.islink(f"/{name}"):
                os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
            elif name in SYSTEM:
                os.mkdir(f"{root}/{name}")
                subprocess.run(["mount", "--rbind", f"/{name}", f"{root}/{name}"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root + LIBRARIES], check=True)
        for name in ("tmp", "srv/temporary", "var/log/nginx", "var/lib/nginx"):
            os.makedirs(f"{root}/{name}")
        yield root
    finally:
        subprocess.run(["umount", "-l", root], check=True)
        os.rmdir(root)


def stages(dockerfile):
    """{stage: [(instruction, its words)]}, of the instructions that this Dockerfile needs."""
    found, here = {}, None
    with open(dockerfile) as text:
        for line in text:
            instruction, _, rest = line.strip().partition(" ")
            if instruction == "FROM":
                here = found.setdefault(rest.split(" AS ")[1], [])
            elif instruction and not instruction.startswith("#"):
                here.append((instruction, rest))
    return found


def play(instructions, root, made):
    environment = {}
    for instruction, rest in instructions:
        if instruction == "COPY":
            _, source, target = rest.split()
            target = root + target + (os.path.basename(source) if target.endswith("/") else "")
            shutil.copy(made[source], target)
        elif instruction == "ENV":
            environment.update(word.split("=", 1) for word in shlex.split(rest))
        elif instruction == "RUN":
            settings = " ".join(f"export {name}={shlex.quote(value)};" for name, value in environment.items())
            command = ["chroot", root, "/bin/sh", "-c", settings + rest]
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
                raise NotPlayed(f"RUN {rest} failed")
        else:
            raise NotPlayed(f"cannot play {instruction}: teach this module to")
    return environment


def locked(container, root, volumes, may_change_user):
    """What runs a command as that container would: its volumes, its user, its root directory, which is read-only."""
    mounts = [(volumes[mount["name"]], root + mount["mountPath"], mount) for mount in container["volumeMounts"]]
    for _, target, _ in mounts:
        os.makedirs(target, exist_ok=True)
    steps = [f"mount --rbind {root} {root}"]
    for part in ("", "/usr", LIBRARIES, "/etc"):
        steps += [f"mount -o remount,ro,bind {root}{part}"]
    for volume, target, mount in mounts:
        steps += [f"mount --bind {volume} {target}"]
        steps += [f"mount -o remount,ro,bind {target}"] if mount.get("readOnly") else []
    user = container["securityContext"]["runAsUser"]
    drop = ["--no-new-privs", "--bounding-set=-all"]
    if may_change_user:
        drop += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    run = f'exec chroot {root} setpriv {" ".join(drop)} "$@"'
    return ["unshare", "--mount", "sh", "-ec", "\n".join([*steps, run]), "sh"]
