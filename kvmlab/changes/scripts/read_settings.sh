# read_settings.sh PATH...: print one line for each path, in order: "-" where it is missing, else
# "= " and its text. A link reads as the last part of its target, a directory and a libvirt network
# as "present", the flags of a network device as "up" or "down".
for path do
    if [ -L "$path" ]; then
        target=$(readlink "$path")
        echo "= ${target##*/}"
    elif [ -d "$path" ]; then
        echo "= present"
    elif [ -e "$path" ]; then
        text=
        IFS= read -r text 2>/dev/null <"$path"
        case $path in
            /sys/class/net/*/flags)
                if [ $((text & 1)) -eq 1 ]; then text=up; else text=down; fi
                ;;
            /run/libvirt/network/*.xml) text=present ;;
        esac
        printf '= %s\n' "$text"
    else
        echo "-"
    fi
done
exit 0
